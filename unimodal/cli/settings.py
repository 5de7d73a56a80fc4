"""Settings: options that several commands take, and the task that they name."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from unimodal.errors import UnknownNameError
from unimodal.setting_word import setting_word

__all__ = [
    "BatchTokens",
    "Column",
    "Device",
    "Recursive",
    "Weights",
    "Workers",
    "known_task",
    "ready_task",
    "task_options",
    "torch_device",
]

Weights = Annotated[
    Path | None, typer.Option(help="Folder written by 'unimodal train'; the task's embedded weights by default.")
]
BatchTokens = Annotated[int | None, typer.Option(min=1, help="Most tokens in a batch (2,048 on a CPU, else 32,768).")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 ...")]
Workers = Annotated[int, typer.Option(min=0, help="Threads that decode inputs ahead.")]
Column = Annotated[
    str | None, typer.Option(help="Column of CSV and Parquet sources, paths or encoded files ('image').")
]
Recursive = Annotated[bool, typer.Option("--recursive", "-r", help="Enter the folders in a folder.")]


def ready_task(name: str, weights: Path | None, device: str) -> Any:
    """The task, loaded.

    Raises:
        UnknownNameError, ImportError: as :func:`known_task`.
        CheckpointError: no usable weights.
        ValueError: no such device.
    """
    from unimodal.task import load_task

    known_task(name)  # a wrong name is told before anything is loaded
    return load_task(name, weights, device=torch_device(device))


def known_task(name: str) -> Any:
    """The task's class.

    Raises:
        UnknownNameError: no such task.
        ImportError: its plugin is broken; the message says whose it is and what is wrong.
    """
    from unimodal.catalog import catalog

    tasks = catalog("tasks")
    try:
        return tasks[name]
    except UnknownNameError:
        raise
    except (Exception, SystemExit) as error:
        cause = f"{type(error).__name__}: {error}"
        raise ImportError(f"the task {name!r} of {tasks.source(name)} cannot be used: {cause}") from error


def task_options(task: Any, given: Sequence[str]) -> dict[str, Any]:
    """``NAME=VALUE`` words as keywords of the task's ``build``: values are JSON if they can be, else words.

    Raises:
        ValueError: a word has no ``=``, or ``build`` takes no such option.
    """
    known = list(inspect.signature(task.build).parameters)[1:]
    options: dict[str, Any] = {}
    for word in given:
        name, value = setting_word(word, "--option")
        if name not in known:
            takes = f"it takes: {', '.join(known)}" if known else "it takes none"
            raise ValueError(f"the task {task.name!r} has no option {name!r}; {takes}")
        options[name] = value
    return options


def torch_device(name: str) -> str:
    """A device of torch; ``auto`` is the first GPU, or the CPU."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"--device {name} cannot be used here: {str(error).splitlines()[0]}") from error
    return name
