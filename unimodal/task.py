"""Task: the plugin contract. One class makes a task; everything the suite does with it follows from that class.

From a task come, with no further code: ``unimodal predict | train | evaluate``, the batch runner, its tab in the demo,
its line in ``unimodal list`` and the conformance tests (:func:`unimodal.testing.check_task`). A task is found by name:
a file in ``tasks/``, or an entry point of another distribution in the group ``unimodal.tasks``.
"""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch.nn as nn
from torch import Tensor

from unimodal.metrics import Metric
from unimodal.model import Model
from unimodal.sample import Sample

__all__ = ["OUTPUTS", "Prediction", "Task", "load_task", "require_task_contract", "save_task"]

#: What a task can show, by name: the type of the value in :meth:`Prediction.render`.
OUTPUTS: Mapping[str, str] = {
    "classes": "dict of class name to probability",
    "segments": "(picture, list of (boolean mask (rows, columns), name))",
    "image": "a Pillow image",
    "text": "a string",
    "table": "a list of dicts with the same keys",
}


@runtime_checkable
class Prediction(Protocol):
    """The result for one input, in the input's own space."""

    def to_json(self) -> dict[str, Any]:
        """Plain data; the same keys and types for every prediction of a task: a row of ``predictions.parquet``."""
        ...

    def save(self, folder: Path, stem: str) -> list[Path]:
        """Write what does not fit in a row in the field's own format as ``folder/stem.*``; returns the files."""
        ...

    def render(self) -> dict[str, Any]:
        """What a person sees: one value for each name in the task's ``outputs`` (see :data:`OUTPUTS`)."""
        ...


class Task(Protocol):
    """A plugin. Attributes describe it, methods do it; the weights live in ``module``.

    ``name``     its catalog name, ``title`` and ``summary`` what a newcomer reads.
    ``inputs``   tokenizer names; today exactly one a task.
    ``outputs``  names from :data:`OUTPUTS`, in the order in which they are shown.
    ``encoder``  the encoder checkpoint it stands on by default, ``weights`` the name of its own embedded ones or None.
    ``module``   what :meth:`build` returned: an ``nn.Module`` whose ``encoder`` is the shared, frozen one; or with the
                 option ``whole``, where a task has it, one of its own that is trained along and saved with the task.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    inputs: ClassVar[tuple[str, ...]]
    outputs: ClassVar[tuple[str, ...]]
    encoder: ClassVar[str]
    weights: ClassVar[str | None]
    module: nn.Module

    def __init__(self, module: Any) -> None:
        """Wrap a built module."""
        ...

    @staticmethod
    def build(encoder: Model, **options: Any) -> nn.Module:
        """The task's module around ``encoder``, with ``options`` kept as ``module.options`` (plain data)."""
        ...

    def read(self, source: Any) -> Sample:
        """Decode and validate one input (thread-safe); raises InputError."""
        ...

    def predict(self, samples: Sequence[Sample]) -> Sequence[Prediction]:
        """One prediction a sample, in order; a sample's result does not depend on its neighbours."""
        ...

    def labelled(self, path: Path) -> Sequence[tuple[Any, Any]]:
        """(source, target) pairs of a data set on disk; raises InputError if it is not laid out as documented."""
        ...

    def loss(self, samples: Sequence[Sample], targets: Sequence[Any]) -> Tensor:
        """The training loss of labelled samples."""
        ...

    def metrics(self) -> dict[str, Metric]:
        """Fresh accumulators by name; each one's ``update`` takes a prediction and its target."""
        ...

    @staticmethod
    def examples() -> Sequence[Any]:
        """A few sources that ship with the task, for the demo."""
        ...


def load_task(name: str, weights: str | Path | None = None, *, device: str = "cpu", allow_random: bool = False) -> Any:
    """The task called ``name``, ready to predict.

    Args:
        weights: A folder written by :func:`save_task`; None means the task's embedded weights.
        device: A torch device.
        allow_random: Whether parameters that nobody trained may stay random (to train them, for instance).

    Raises:
        UnknownNameError: no such task (the message suggests neighbours).
        ValueError: the task has parameters of its own and no weights for them.
    """
    from unimodal.catalog import catalog
    from unimodal.task_checkpoint import load_task_module

    task_class: Any = catalog("tasks")[name]
    module = load_task_module(task_class, weights, device=device, allow_random=allow_random)
    return task_class(module)


def save_task(task: Any, folder: Path, *, card: Mapping[str, Any]) -> None:
    """Write the task's own weights (not the shared encoder's) and what is needed to build it again.

    Args:
        folder: Gets ``model.safetensors``, ``task.json`` and the model card.
        card: What the model card says (data, licence, command, seed, time, scores).
    """
    from unimodal.task_checkpoint import save_task_module

    save_task_module(task, folder, card=card)


def require_task_contract(task: Any, name: str) -> None:
    """Check, without building anything, that ``task`` is a class with the members of :class:`Task`.

    Raises:
        TypeError: it is not; the message lists everything that is missing or wrong.
    """
    wrong: list[str] = []
    if not inspect.isclass(task):
        raise TypeError(f"task {name!r} must be a class, not {type(task).__name__}")
    for member in ("title", "summary", "encoder"):
        if not isinstance(getattr(task, member, None), str):
            wrong.append(f"{member} must be a string")
    if getattr(task, "name", None) != name:
        wrong.append(f"name must be {name!r}, the name it is registered under, not {getattr(task, 'name', None)!r}")
    for member in ("inputs", "outputs"):
        value = getattr(task, member, None)
        if not (isinstance(value, tuple) and value and all(isinstance(item, str) for item in value)):
            wrong.append(f"{member} must be a tuple of names")
    unknown = [o for o in getattr(task, "outputs", ()) or () if o not in OUTPUTS]
    if unknown:
        wrong.append(f"outputs {unknown} are not among {list(OUTPUTS)}")
    for member in ("build", "read", "predict", "labelled", "loss", "metrics", "examples"):
        if not callable(getattr(task, member, None)):
            wrong.append(f"{member}() is missing")
    if wrong:
        raise TypeError(f"task {name!r} breaks the contract: " + "; ".join(wrong))
