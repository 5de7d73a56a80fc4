"""Published by transformers: ``config.json``, ``model.safetensors`` (or its shards) and a preprocessor's config."""

import json
from dataclasses import replace
from typing import Any

from torch import Tensor

from unimodal.checkpoint import read_config
from unimodal.conversion import Published
from unimodal.errors import CheckpointError, MissingExtraError
from unimodal.hub import Repository
from unimodal.weights_file import read_weights

__all__ = ["read"]

_FAMILIES = {
    "audio-spectrogram-transformer": "ast",
    "clip_vision_model": "clip",
    "clip_text_model": "clip",
    "siglip_vision_model": "siglip",
    "siglip_text_model": "siglip",
    "dinov2_with_registers": "dinov2",
    "convnextv2": "convnext",
    "xlm-roberta": "roberta",
    "camembert": "roberta",
}
_SENTENCES = ("bert", "roberta")
_PROCESSORS = {
    "vit": "ViTImageProcessor",
    "clip": "CLIPImageProcessor",
    "siglip": "SiglipImageProcessor",
    "dinov2": "BitImageProcessor",
    "swin": "ViTImageProcessor",
    "convnext": "ConvNextImageProcessor",
    "cvt": "ConvNextImageProcessor",
    "pvt": "PvtImageProcessor",
    "pvt_v2": "PvtImageProcessor",
}
_VOCABULARIES = ("tokenizer.json", "vocab.json", "spiece.model")


def read(name: str) -> Published:
    """A folder that ``save_pretrained`` wrote, or a hub id.

    Raises:
        MissingExtraError: transformers is not installed.
        CheckpointError: files are missing, damaged or pickled, or the preprocessing cannot be done here.
    """
    try:
        from transformers import CONFIG_MAPPING
    except ImportError as error:
        raise MissingExtraError("transformers", "converters") from error
    repository = Repository(name)
    path = repository.file("config.json")
    raw = read_config(path)
    kind = str(raw.get("model_type"))
    if kind not in CONFIG_MAPPING:
        raise CheckpointError(path, f"model_type {kind!r} is unknown to the installed transformers")
    # The stored configuration lists differences from the class's defaults: let the class complete it.
    config = {**CONFIG_MAPPING[kind].from_dict(raw).to_dict(), "model_type": kind}
    family = _FAMILIES.get(kind, kind.replace("-", "_"))
    if family in _SENTENCES and (sentences := _sentences(repository)):
        config["sentence_embedding"] = sentences
    found = repository.find("preprocessor_config.json") or repository.find("video_preprocessor_config.json")
    words = any(repository.find(file) for file in _VOCABULARIES)
    published = Published(
        library="transformers",
        family=family,
        source=f"transformers:{name}",
        config=config,
        weights=_weights(repository),
        encoding=f"transformers:{name}" if words or family != "clip" else "clip_bpe",
        preprocessor=read_config(found) if found is not None else {},
    )
    return replace(published, pictures=_pictures(published))


def _weights(repository: Repository) -> dict[str, Tensor]:
    whole = repository.find("model.safetensors")
    found = repository.find("model.safetensors.index.json") if whole is None else None
    if found is None:
        return read_weights(whole or repository.file("model.safetensors"))
    shards = read_config(found).get("weight_map")
    if not isinstance(shards, dict):
        raise CheckpointError(found, "has no weight_map")
    weights: dict[str, Tensor] = {}
    for shard in sorted(set(shards.values())):
        weights |= read_weights(repository.file(shard))
    return weights


def _sentences(repository: Repository) -> dict[str, Any]:
    """What sentence-transformers stores beside a model: the modules behind it, the pooling, the most tokens."""
    path = repository.find("modules.json")
    if path is None:
        return {}
    try:
        modules = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(path, f"not readable as JSON ({error})") from error
    if not isinstance(modules, list) or not all(isinstance(m, dict) and "type" in m for m in modules):
        raise CheckpointError(path, "is no list of modules")
    folders = {str(m["type"]).rpartition(".")[2]: str(m.get("path", "")) for m in modules}
    pooling = repository.find(f"{folders['Pooling']}/config.json") if "Pooling" in folders else None
    words = repository.find("sentence_bert_config.json")
    return {
        "modules": list(folders),
        "pooling": read_config(pooling) if pooling is not None else {},
        **(read_config(words) if words is not None else {}),
    }


def _pictures(published: Published) -> dict[str, Any]:
    """The picture settings; where the source has none, the family's own defaults at the model's size."""
    config = published.config.get("vision_config", published.config)
    edge = config.get("image_size", 224 if published.family == "cvt" else None)  # CvT's says none: it reads any
    if edge is None or published.family not in _PROCESSORS:
        return {}
    import transformers

    given = published.preprocessor
    settings = getattr(transformers, _PROCESSORS[published.family])(**given).to_dict()
    rows, columns = (edge, edge) if isinstance(edge, int) else edge
    published.require("do_resize", settings["do_resize"], True)
    size = dict(settings["size"])
    if "height" in size:
        wanted = (size["height"], size["width"]) if given else (rows, columns)
        place: dict[str, Any] = {"size": wanted, "fit": "resize"}
    elif "crop_pct" in settings:  # below 384 px the middle of a larger picture, from there on the whole, squashed
        shortest = size["shortest_edge"] if given else rows
        cropped = {"fit": "crop", "crop_fraction": settings["crop_pct"]}
        place = {
            "size": (shortest, shortest),
            **(cropped if shortest < 384 else {"fit": "resize", "crop_fraction": 1.0}),
        }
    else:
        published.require("do_center_crop", settings["do_center_crop"], True)
        crop = settings["crop_size"]
        wanted = (crop["height"], crop["width"]) if given else (rows, columns)
        fraction = min(wanted) / size["shortest_edge"] if given else 1.0
        place = {"size": wanted, "fit": "crop", "crop_fraction": min(fraction, 1.0)}
    normal = settings["do_normalize"]
    return {
        **place,
        "mean": tuple(settings["image_mean"]) if normal else (0.0, 0.0, 0.0),
        "std": tuple(settings["image_std"]) if normal else (1.0, 1.0, 1.0),
        "resample": _filter(settings["resample"]),
    }


def _filter(resample: Any) -> str:
    from PIL.Image import Resampling

    return Resampling(int(resample)).name.lower()
