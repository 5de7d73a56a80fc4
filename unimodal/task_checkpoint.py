"""Task checkpoint: a folder with the task's own weights and the name of the shared encoder that they were trained on.

The encoder is loaded once a process and device and shared by every task that stands on it, frozen.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch.nn as nn

from unimodal.checkpoint import WEIGHTS, read_config
from unimodal.coverage import load_strictly
from unimodal.errors import CheckpointError
from unimodal.model import Model
from unimodal.provenance import Provenance
from unimodal.weights_file import read_weights, write_weights

__all__ = ["TASK", "load_task_module", "save_task_module", "shared_encoder"]

TASK = "task.json"
_EMBEDDED = Path(__file__).parent / "weights"


@cache
def shared_encoder(name: str, device: str = "cpu") -> Model:
    """The encoder called ``name`` on ``device``, frozen; the same object at every call.

    Args:
        name: What :func:`unimodal.load` takes; a bare name means an embedded one.
    """
    from unimodal.pretrained import load

    model: Any = load(name if ":" in name or "/" in name else f"unimodal:{name}")
    return model.eval().requires_grad_(False).to(device)


def save_task_module(task: Any, folder: Path, *, card: Mapping[str, Any]) -> None:
    """See :func:`unimodal.task.save_task`."""
    folder.mkdir(parents=True, exist_ok=True)
    own = {k: v.detach().clone().contiguous() for k, v in task.module.state_dict().items() if not _of_encoder(k)}
    write_weights(folder / WEIGHTS, own)
    settings = {
        "format": "unimodal task",
        "version": 1,
        "task": task.name,
        "encoder": task.encoder,
        "options": task.module.options,
        "card": dict(card),
    }
    (folder / TASK).write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


def load_task_module(
    task_class: Any, weights: str | Path | None, *, device: str = "cpu", allow_random: bool = False
) -> nn.Module:
    """The module of a task with its encoder and its weights.

    Args:
        weights: A folder written by :func:`save_task_module`; None means the embedded ones, if the task names any.

    Raises:
        CheckpointError: the folder is not one of this task, is damaged, or does not fit.
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
        module.provenance = Provenance({"": "random"} if own else {}, "built, not loaded")
        return module.eval()
    folder = Path(weights)
    settings = read_config(folder / TASK)
    if settings.get("format") != "unimodal task" or settings.get("version") != 1:
        raise CheckpointError(folder / TASK, "is no task checkpoint that this release reads")
    if settings["task"] != task_class.name:
        raise CheckpointError(folder / TASK, f"holds the task {settings['task']!r}, not {task_class.name!r}")
    module = task_class.build(shared_encoder(settings["encoder"], device), **settings["options"])
    own = read_weights(folder / WEIGHTS)
    encoder = {k: v for k, v in module.state_dict().items() if _of_encoder(k)}
    load_strictly(module, {**encoder, **own}, folder / WEIGHTS)
    module.provenance = Provenance({"": "trained"}, str(settings["card"].get("name", folder)))
    return module.eval().to(device)


def _of_encoder(key: str) -> bool:
    return key.startswith("encoder.")
