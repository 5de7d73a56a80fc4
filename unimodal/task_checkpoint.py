"""Task checkpoint: a folder with the task's own weights and the name of the shared encoder that they were trained on.

The encoder is loaded once a process and device and shared by every task that stands on it, frozen. A task that was
built with the option ``whole`` has an encoder of its own, trained along with it: the folder then holds the weights of
both, and the encoder's tree of parts.
"""

import json
import os
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch.nn as nn

from unimodal.checkpoint import WEIGHTS, read_config
from unimodal.coverage import load_strictly
from unimodal.errors import CheckpointError, UnknownNameError
from unimodal.model import Model
from unimodal.part import Part
from unimodal.provenance import Provenance
from unimodal.weights_file import read_weights, replace_file, weights_digest, write_weights

__all__ = ["TASK", "load_task_module", "own_encoder", "save_task_module", "shared_encoder", "task_card"]

TASK = "task.json"
_LOADING = threading.Lock()
_EMBEDDED = Path(__file__).parent / "weights"


def shared_encoder(name: str, device: str = "cpu") -> Model:
    """The encoder called ``name`` on ``device``, frozen; the same object at every call, from any thread.

    Args:
        name: What :func:`unimodal.load` takes; a bare name means an embedded one.
    """
    with _LOADING:
        return _loaded(name, device)


def own_encoder(name: str) -> tuple[Part, Model]:
    """An encoder that nobody shares, to be trained, and the tree that builds it.

    Args:
        name: What :func:`unimodal.load` takes, a bare name of an embedded one, or what
            :func:`unimodal.from_recipe.from_recipe` does: that one's weights are random, by torch's seed.
    """
    from unimodal.from_recipe import from_recipe
    from unimodal.pretrained import load_with_info

    if name.startswith("recipe:"):
        part = from_recipe(name)
        model: Any = part()
        Provenance({"": "random"}, name).attach(model)
        return part, model
    model, info = load_with_info(_full(name))
    return info.part, model


@cache
def _loaded(name: str, device: str) -> Model:
    from unimodal.pretrained import load

    model: Any = load(_full(name))
    return model.eval().requires_grad_(False).to(device)


def save_task_module(task: Any, folder: Path, *, card: Mapping[str, Any]) -> None:
    """See :func:`unimodal.task.save_task`. Digests bind the settings to the weights and to the encoder's.

    Raises:
        ValueError: the task's options or the card are no plain JSON, or an encoder was trained along and
            ``module.encoder_part`` is not the tree that builds it; nothing is written then.
    """
    whole = bool(task.module.options.get("whole"))
    kept = {k: v for k, v in task.module.state_dict().items() if whole or not _of_encoder(k)}
    own = {k: v.detach().clone().contiguous() for k, v in kept.items()}
    part = task.module.__dict__.get("encoder_part")
    if whole and part is None:
        raise ValueError(f"the encoder of {task.name!r} was trained along, and module.encoder_part says not what it is")
    settings = {
        "format": "unimodal task",
        "version": 1,
        "task": task.name,
        "encoder": task.encoder,
        **({"encoder_part": part.to_json()} if whole else {}),
        "encoder_digest": None if whole else weights_digest(task.module.encoder.state_dict()),
        "digest": weights_digest(own),
        "options": task.module.options,
        "card": dict(card),
    }
    try:
        text = json.dumps(settings, indent=1, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"the options or the card of {task.name!r} are not plain JSON: {error}") from error
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder / WEIGHTS, own)
    aside = folder / f".{TASK}.{os.getpid()}"
    aside.write_text(text + "\n", encoding="utf-8")
    replace_file(aside, folder / TASK)


def load_task_module(
    task_class: Any, weights: str | Path | None, *, device: str = "cpu", allow_random: bool = False
) -> nn.Module:
    """The module of a task with its encoder and its weights.

    Args:
        weights: A folder written by :func:`save_task_module`; None means the embedded ones, if the task names any.

    Raises:
        CheckpointError: the folder is not one of this task, is damaged, does not fit, or stands on another encoder.
        ValueError: the task has parameters of its own, no weights for them, and ``allow_random`` is False.
    """
    if weights is None and task_class.weights is not None:
        folder = Path(task_class.weights)
        folder = folder if folder.is_absolute() else _EMBEDDED / folder
        weights = folder if not allow_random or (folder / TASK).exists() else None
    if weights is None:
        module = task_class.build(shared_encoder(task_class.encoder, device)).to(device)
        own = sum(p.numel() for k, p in module.named_parameters() if not _of_encoder(k))
        if own and not allow_random:
            raise ValueError(
                f"the task {task_class.name!r} has {own:,} parameters of its own and no trained weights for them; "
                "give weights=FOLDER, or allow_random=True to train it"
            )
        return _told(module, "random", "built, not loaded").eval()
    folder = Path(weights)
    settings = _settings(folder, task_class.name)
    own = read_weights(folder / WEIGHTS)
    if settings.get("digest") not in (None, weights_digest(own)):
        raise CheckpointError(folder / WEIGHTS, f"its content is not the one that {TASK} was written for")
    part = _part(settings, folder)
    encoder = part() if part is not None else shared_encoder(settings["encoder"], device)
    if settings.get("encoder_digest") not in (None, weights_digest(encoder.state_dict())):
        cause = f"it was trained on other weights of the encoder {settings['encoder']!r} than those of today"
        raise CheckpointError(folder, cause, "train it again, or give back the encoder that it knew")
    try:
        module = task_class.build(encoder, **settings["options"])
    except (TypeError, ValueError) as error:
        raise CheckpointError(folder / TASK, f"the options cannot be used ({error})") from error
    kept = {k: v for k, v in module.state_dict().items() if part is None and _of_encoder(k)}
    load_strictly(module, {**kept, **own}, folder / WEIGHTS)
    if part is not None:
        module.__dict__["encoder_part"] = part
        Provenance({"": "trained"}, str(folder)).attach(module.encoder)
    return _told(module, "trained", str(settings["card"].get("name", folder))).eval().to(device)


def task_card(folder: Path) -> dict[str, Any]:
    """``task.json`` of a folder as it stands, for people."""
    return read_config(folder / TASK)


def _settings(folder: Path, task: str) -> dict[str, Any]:
    if not (folder / TASK).is_file():
        raise CheckpointError(folder, f"is no task checkpoint: it has no {TASK}", f"train one: unimodal train {task}")
    settings = read_config(folder / TASK)
    if settings.get("format") != "unimodal task" or settings.get("version") != 1:
        raise CheckpointError(folder / TASK, "is no task checkpoint that this release reads")
    wanted = {"task": str, "encoder": str, "options": dict, "card": dict}
    wrong = [name for name, kind in wanted.items() if not isinstance(settings.get(name), kind)]
    if wrong:
        raise CheckpointError(folder / TASK, f"lacks {', '.join(wrong)}")
    if settings["task"] != task:
        raise CheckpointError(folder / TASK, f"holds the task {settings['task']!r}, not {task!r}")
    return settings


def _part(settings: Mapping[str, Any], folder: Path) -> Part | None:
    """The tree of an encoder that was trained along, or None for a shared one."""
    if not settings["options"].get("whole"):
        return None
    try:
        return Part.from_json(settings.get("encoder_part", {}))
    except (TypeError, ValueError, UnknownNameError) as error:
        raise CheckpointError(folder / TASK, f"the encoder's parts cannot be used ({error})") from error


def _full(name: str) -> str:
    return name if ":" in name or "/" in name else f"unimodal:{name}"


def _told(module: nn.Module, own: str, source: str) -> nn.Module:
    """The module, knowing the status of its own parameters and of its encoder's."""
    told = Provenance.of(module.encoder) if isinstance(module.encoder, nn.Module) else Provenance({})
    statuses = {f"encoder.{prefix}" if prefix else "encoder": status for prefix, status in told.statuses.items()}
    if any(not _of_encoder(name) for name in module.state_dict()):
        statuses[""] = own
    module.__dict__["provenance"] = Provenance(statuses, source)
    return module


def _of_encoder(key: str) -> bool:
    return key.startswith("encoder.")
