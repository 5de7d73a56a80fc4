"""Checkpoint: a folder with ``model.safetensors`` and ``config.json``, written atomically and read strictly.

The config holds the model's Part tree, so a model is rebuilt from catalog names and numbers; no code is stored and
none is run. A digest of the weights binds the two files together: a save that was cut off between them is noticed.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.coverage import load_strictly
from unimodal.errors import CheckpointError, UnknownNameError
from unimodal.hub import Repository
from unimodal.part import Part
from unimodal.provenance import Provenance
from unimodal.weights_file import read_weights, replace_file, stored, write_weights

__all__ = ["CONFIG", "FORMAT", "WEIGHTS", "Info", "describe", "load_checkpoint", "save"]

FORMAT, CONFIG, WEIGHTS = 1, "config.json", "model.safetensors"
_STORED_AS = {torch.float32: "float32", torch.float16: "float16", torch.bfloat16: "bfloat16", None: "as built"}


@dataclass(frozen=True)
class Info:
    """What is known about a loaded model besides its weights.

    Args:
        source: Where it came from, as the user wrote it.
        part: The tree that builds it.
        provenance: What is trained, converted, random.
        card: Free fields for people: data, recipe, scores, licence, preprocessing that other tools would need.
        parameters: Parameters by top-level part, and how many the peer had besides (``set aside``), for conversions.
    """

    source: str
    part: Part
    provenance: Provenance
    card: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, int] = field(default_factory=dict)


def save(
    model: nn.Module,
    folder: str | Path,
    *,
    part: Part,
    provenance: Provenance,
    card: Mapping[str, Any] | None = None,
    dtype: torch.dtype | None = None,
) -> Path:
    """Write ``model`` to ``folder`` and return it.

    Args:
        model: What ``part`` builds.
        folder: Made if absent; an older checkpoint in it is replaced file by file, each in one step.
        part: The tree that builds the model.
        provenance: What is trained, converted, random; it has to speak of every parameter.
        card: JSON-able fields for people.
        dtype: How floating-point tensors are stored (float16 or bfloat16 halve the file); None keeps theirs. They
            are widened again on loading.

    Raises:
        ValueError: ``part`` does not build this model, a parameter has no status, the card is no JSON, or a value
            does not fit ``dtype``.
    """
    if dtype not in _STORED_AS:
        raise ValueError(f"dtype must be float32, float16, bfloat16 or None, not {dtype}")
    provenance.check(model)
    folder = Path(folder)
    weights, shared = _without_repeats(model.state_dict())
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in part().state_dict().items()}
    if shapes != {name: tensor.shape for name, tensor in model.state_dict().items()}:
        raise ValueError(f"the part does not build this model: {part!r}")
    kept = {name: stored(tensor, dtype) for name, tensor in weights.items()}
    for name, tensor in kept.items():
        if tensor.is_floating_point() and not torch.equal(tensor.isfinite(), weights[name].isfinite()):
            raise ValueError(f"{name} holds values that {dtype} cannot; store it as bfloat16 or float32")
    config = {
        "format": "unimodal",
        "version": FORMAT,
        "part": part.to_json(),
        "provenance": provenance.to_json(),
        "stored_as": _STORED_AS[dtype],
        "shared": shared,
        "card": dict(card or {}),
    }
    try:
        json.dumps(config, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the card is not plain JSON: {error}") from error
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder / WEIGHTS, kept)
    config["sha256"] = _digest(folder / WEIGHTS)
    aside = folder / f".{CONFIG}.{os.getpid()}"
    aside.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    replace_file(aside, folder / CONFIG)
    return folder


def load_checkpoint(source: str | Path, *, allow_random: bool = False) -> tuple[nn.Module, Info]:
    """Rebuild a model that :func:`save` wrote, in evaluation mode.

    Args:
        source: A folder, or ``owner/name[@revision]`` on the hub.
        allow_random: Whether parts that nobody trained may come along.

    Raises:
        CheckpointError: a file is missing, damaged, of another format or a newer version, or the weights do not fit
            (with a coverage report); a part is random and ``allow_random`` is False.
    """
    repository = Repository(str(source))
    config_path = repository.file(CONFIG)
    config = read_config(config_path)
    if config.get("format") != "unimodal":
        raise CheckpointError(config_path, "not a checkpoint of this suite ('format' is not 'unimodal')")
    if config.get("version") != FORMAT:
        cause = f"format version {config.get('version')!r}, this release reads {FORMAT}"
        raise CheckpointError(config_path, cause, "use a matching release")
    try:
        part = Part.from_json(config["part"])
        provenance = Provenance(**config["provenance"])
        shared, card, digest = dict(config["shared"]), dict(config["card"]), config["sha256"]
        model: nn.Module = part()
    except (KeyError, TypeError, ValueError, UnknownNameError) as error:
        raise CheckpointError(config_path, f"the settings cannot be used ({error})") from error
    weights_path = repository.file(WEIGHTS)
    weights = read_weights(weights_path)
    if _digest(weights_path) != digest:
        cause = f"its content is not the one that {CONFIG} was written for"
        raise CheckpointError(weights_path, cause, "it is damaged or from another save")
    for alias, name in shared.items():
        if name not in weights:
            raise CheckpointError(config_path, f"{alias} shares the tensor {name}, which {WEIGHTS} does not have")
        weights[alias] = weights[name]
    load_strictly(model, weights, weights_path)
    try:
        provenance.attach(model)
    except ValueError as error:
        raise CheckpointError(config_path, f"the provenance does not fit the model ({error})") from error
    if (random := provenance.random(model)) and not allow_random:
        cause = f"random, not trained: {', '.join(random)}"
        raise CheckpointError(source, cause, "give allow_random=True to use it all the same")
    return model.eval(), Info(str(source), part, provenance, card, count(model))


def describe(model: nn.Module, info: Info) -> dict[str, Any]:
    """What ``unimodal info`` prints, as plain data: source, one row a top-level part, the card.

    A row has the part's name, the class that it is, its parameters and their status (several if they differ).
    """
    rows = []
    for top in info.parameters:
        module = dict(model.named_modules()).get(top, model)
        names = [name for name in model.state_dict() if name == top or name.startswith(top + ".")]
        statuses = sorted({info.provenance.status(name) or "unknown" for name in names})
        rows.append(
            {
                "part": top,
                "class": type(module).__name__,
                "parameters": info.parameters[top],
                "status": ", ".join(statuses),
            }
        )
    return {"source": info.source, "weights from": info.provenance.source, "parts": rows, "card": dict(info.card)}


def count(model: nn.Module) -> dict[str, int]:
    """Parameters by top-level part, in the model's order; modules inside a dictionary are named apart."""
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        first, _, rest = name.partition(".")
        top = f"{first}.{rest.partition('.')[0]}" if first in ("tokenizers", "positions") else first
        counts[top] = counts.get(top, 0) + parameter.numel()
    return counts


def read_config(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        CheckpointError: the file is no JSON, or no object.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CheckpointError(path, f"not readable as JSON ({error})") from error
    if not isinstance(config, dict):
        raise CheckpointError(path, f"must hold a JSON object, not a {type(config).__name__}")
    return config


def _without_repeats(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Each tensor once, and which names share it (tied weights are one tensor under several names)."""
    first: dict[tuple[Any, ...], str] = {}
    kept, shared = {}, {}
    for name, tensor in weights.items():
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and key in first:
            shared[name] = first[key]
        else:
            first[key], kept[name] = name, tensor.detach().clone()
    return kept, shared


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
