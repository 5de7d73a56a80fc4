"""Published by open_clip: ``open_clip_config.json`` and ``open_clip_model.safetensors``, as its own export writes."""

from dataclasses import replace
from typing import Any

from unimodal.checkpoint import read_config
from unimodal.conversion import Published
from unimodal.errors import CheckpointError, MissingExtraError, UnknownNameError
from unimodal.hub import Repository
from unimodal.weights_file import read_weights

__all__ = ["read"]


def read(name: str) -> Published:
    """A folder, ``ARCHITECTURE/PRETRAINED`` from open_clip's registry, or a hub id.

    Raises:
        MissingExtraError: open_clip is not installed.
        UnknownNameError: the registry has no such weights for the architecture.
        CheckpointError: files are missing, damaged or pickled, or the preprocessing cannot be done here.
    """
    try:
        import open_clip
    except ImportError as error:
        raise MissingExtraError("open_clip_torch", "converters") from error
    architecture, _, tag = name.partition("/")
    if Repository(name).folder is None and architecture in open_clip.list_models():
        repository, config = _registered(architecture, tag)
    else:
        repository = Repository(name)
        config = read_config(repository.file("open_clip_config.json"))
    try:
        model, preprocess = dict(config["model_cfg"]), dict(config.get("preprocess_cfg", {}))
        vision, text = dict(model["vision_cfg"]), dict(model["text_cfg"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"open_clip:{name}", f"open_clip_config.json is incomplete ({error})") from error
    words = text.get("hf_tokenizer_name")
    published = Published(
        library="open_clip",
        family="clip",
        source=f"open_clip:{name}",
        config={**model, "vision_cfg": vision, "text_cfg": text},
        weights=read_weights(repository.file("open_clip_model.safetensors")),
        encoding=f"transformers:{words}" if words else "clip_bpe",
    )
    return replace(published, pictures=_pictures(published, preprocess))


def _registered(architecture: str, tag: str) -> tuple[Repository, dict[str, Any]]:
    import open_clip

    known = open_clip.get_pretrained_cfg(architecture, tag)
    if not known:
        kind = f"pretrained weights of {architecture} in open_clip"
        raise UnknownNameError(kind, tag, open_clip.list_pretrained_tags_by_model(architecture))
    if not known.get("hf_hub"):
        raise CheckpointError(f"open_clip:{architecture}/{tag}", "published as a pickle only, which is never opened")
    model = dict(open_clip.get_model_config(architecture) or {})
    model["quick_gelu"] = bool(known.get("quick_gelu", model.get("quick_gelu", False)))
    preprocess = {key: known[key] for key in ("mean", "std", "interpolation", "resize_mode") if known.get(key)}
    repository = "/".join(known["hf_hub"].split("/")[:2])
    return Repository(repository), {"model_cfg": model, "preprocess_cfg": preprocess}


def _pictures(published: Published, preprocess: dict[str, Any]) -> dict[str, Any]:
    from open_clip.constants import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD

    mode = preprocess.get("resize_mode") or "shortest"
    published.require("resize_mode", mode, "shortest", "squash")
    size = preprocess.get("size") or published.config["vision_cfg"].get("image_size", 224)
    return {
        "size": (size, size) if isinstance(size, int) else tuple(size),
        "fit": "crop" if mode == "shortest" else "resize",
        "mean": tuple(preprocess.get("mean") or OPENAI_DATASET_MEAN),
        "std": tuple(preprocess.get("std") or OPENAI_DATASET_STD),
        "resample": preprocess.get("interpolation") or "bicubic",
    }
