"""Whole: whether a table or a folder is one input of a task, or a list of inputs."""

from pathlib import Path
from typing import Any

from unimodal.catalog import catalog

__all__ = ["reads_whole"]


def reads_whole(task: Any, path: Path) -> bool:
    """Whether ``path`` is one input of ``task``, by what its tokenizers say that they read.

    A file is if a tokenizer of the task's ``inputs`` lists its suffix (a series in a CSV). A folder is if one claims
    it (a DICOM series). Everything else is a list of inputs.
    """
    return any(_reads(name, path) for name in getattr(task, "inputs", ()))


def _reads(name: str, path: Path) -> bool:
    if name not in catalog("tokenizers"):
        return False
    tokenizer: Any = catalog("tokenizers")[name]
    if path.is_dir():
        return hasattr(tokenizer, "claims") and tokenizer.claims(path) > 0.5
    return path.name.lower().endswith(tuple(getattr(tokenizer, "suffixes", ())) or "\0")
