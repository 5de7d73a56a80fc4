"""Peer clips: what transformers' video models say of their clips, in the core's words."""

from collections.abc import Mapping
from typing import Any

from unimodal.catalog import catalog
from unimodal.conversion import Published
from unimodal.model import Model
from unimodal.part import Part
from unimodal.positions.learned import Learned
from unimodal.stems.tubelet import TubeletStem

__all__ = ["video_tower"]


def video_tower(
    published: Published,
    *,
    tubelet: tuple[int, int, int],
    core: Part,
    prefix: int,
    readout: Part | None,
    processor: str,
    **defaults: Any,
) -> Part:
    """A Model part for clips, with learned positions on the model's own lattice.

    The published files do not state which stretch of a clip the frames come from: they are spread evenly over all of
    it (``window_s`` of the video tokenizer takes less).

    Args:
        published: Its configuration has ``hidden_size``, ``image_size``, ``num_frames`` and ``num_channels``.
        tubelet: Frames, rows and columns of a box.
        core: The transformer.
        prefix: Class tokens.
        readout: See :class:`unimodal.model.Model`.
        processor: transformers' class that prepares frames for this family.
        defaults: Its keywords where no configuration was published with the weights.
    """
    config = published.config
    edge = config["image_size"]
    image = (edge, edge) if isinstance(edge, int) else (int(edge[0]), int(edge[1]))
    published.require("num_channels", config["num_channels"], 3)
    published.require("the patch's height", tubelet[1], tubelet[2])
    clips = Part(
        catalog("tokenizers")["video"],
        stem=Part(TubeletStem, patch=tubelet),
        frames=config["num_frames"],
        **_settings(published, image, processor, defaults),
    )
    sizes = (config["num_frames"], *image)
    grid = tuple(size // step for size, step in zip(sizes, tubelet, strict=True))
    return Part(
        Model,
        dim=config["hidden_size"],
        tokenizers={"video": clips},
        positions={"video": Part(Learned, grid=grid)},
        prefix=prefix,
        transformer=core,
        readout=readout,
    )


def _settings(
    published: Published, image: tuple[int, int], processor: str, defaults: Mapping[str, Any]
) -> dict[str, Any]:
    """size, fit, mean, std and resample; a processor that maps pixels to -1..1 first is the same with others."""
    import transformers
    from PIL.Image import Resampling

    given = published.preprocessor
    settings = getattr(transformers, processor)(**(given or defaults)).to_dict()
    published.require("do_resize", settings["do_resize"], True)
    published.require("do_rescale", settings["do_rescale"], True)
    if "shortest_edge" in settings["size"]:
        published.require("do_center_crop", settings["do_center_crop"], True)
        crop = (settings["crop_size"]["height"], settings["crop_size"]["width"])
        fraction = min(min(crop) / settings["size"]["shortest_edge"], 1.0)
        place: dict[str, Any] = {"size": crop if given else image, "fit": "crop", "crop_fraction": fraction}
    else:
        place = {"size": (settings["size"]["height"], settings["size"]["width"]) if given else image, "fit": "resize"}
    gain, shift = 255 * settings["rescale_factor"], float(bool(settings.get("offset")))
    normal = settings["do_normalize"]
    mean = settings["image_mean"] if normal else (0.0, 0.0, 0.0)
    std = settings["image_std"] if normal else (1.0, 1.0, 1.0)
    return {
        **place,
        "mean": tuple((m + shift) / gain for m in mean),
        "std": tuple(s / gain for s in std),
        "resample": Resampling(int(settings["resample"])).name.lower(),
    }
