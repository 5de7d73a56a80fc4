"""Conformance checks for anybody's parts, tokenizers and tasks.

The suite runs them over its own catalogs, plugins over theirs.
"""

import importlib
from typing import TYPE_CHECKING, Any

_HOME = {
    "check_part": "unimodal.part_checks",
    "check_task": "unimodal.task_checks",
    "check_tokenizer": "unimodal.tokenizer_checks",
}

__all__ = ["check_part", "check_task", "check_tokenizer"]

if TYPE_CHECKING:
    from unimodal.part_checks import check_part
    from unimodal.task_checks import check_task
    from unimodal.tokenizer_checks import check_tokenizer


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'unimodal.testing' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
