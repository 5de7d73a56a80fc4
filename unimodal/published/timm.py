"""Published by timm: ``config.json`` and ``model.safetensors``, as its own export writes them."""

from dataclasses import replace
from typing import Any

from unimodal.checkpoint import read_config
from unimodal.conversion import Published
from unimodal.errors import MissingExtraError, UnknownNameError
from unimodal.hub import Repository
from unimodal.weights_file import read_weights

__all__ = ["read"]

_FAMILIES = {"vision_transformer": "vit", "deit": "vit", "swin_transformer": "swin", "nextvit": "next_vit"}


def read(name: str) -> Published:
    """A folder, a hub id, or the name of pretrained weights in timm's registry.

    Raises:
        MissingExtraError: timm is not installed.
        UnknownNameError: no such name in the registry.
        CheckpointError: files are missing, damaged or pickled, or the preprocessing cannot be done here.
    """
    try:
        import timm
    except ImportError as error:
        raise MissingExtraError("timm", "converters") from error
    repository = _repository(name)
    config = read_config(repository.file("config.json"))
    # Old exports keep everything in one level.
    pretrained = dict(config.get("pretrained_cfg", config))
    pretrained["num_classes"] = config.get("num_classes", pretrained.get("num_classes", 1000))
    architecture = str(config.get("architecture"))
    if not timm.is_model(architecture):
        raise UnknownNameError("timm architecture", architecture, timm.list_models())
    module = timm.models.model_entrypoint(architecture).__module__.rpartition(".")[2]
    published = Published(
        library="timm",
        family=_FAMILIES.get(module, module),
        source=f"timm:{name}",
        config={**config, "architecture": architecture, "pretrained_cfg": pretrained},
        weights=read_weights(repository.file("model.safetensors")),
    )
    return replace(published, pictures=_pictures(published, pretrained))


def _repository(name: str) -> Repository:
    import timm

    repository = Repository(name)
    if repository.folder is not None or "/" in name:
        return repository
    known = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    if known is None or not known.hf_hub_id:
        raise UnknownNameError("weights in timm", name, timm.list_models(pretrained=True))
    return Repository(known.hf_hub_id)


def _pictures(published: Published, pretrained: dict[str, Any]) -> dict[str, Any]:
    from timm.data import resolve_data_config

    data = resolve_data_config({}, pretrained_cfg=pretrained)
    published.require("crop_mode", data["crop_mode"], "center", "squash")
    squashed = data["crop_mode"] == "squash"
    if squashed:
        published.require("crop_pct of a squashed picture", data["crop_pct"], 1.0)
    return {
        "size": tuple(data["input_size"][1:]),
        "fit": "resize" if squashed else "crop",
        "mean": tuple(data["mean"]),
        "std": tuple(data["std"]),
        "resample": data["interpolation"],
        "crop_fraction": float(data["crop_pct"]),
    }
