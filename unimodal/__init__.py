"""unimodal: one modality-agnostic transformer core, pluggable tokenizers and task plugins.

Importing this package imports nothing heavy; every name below is loaded on first use, and torch with it.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Batch": "unimodal.sample",
    "Block": "unimodal.block",
    "Catalog": "unimodal.catalog",
    "InputError": "unimodal.errors",
    "Model": "unimodal.model",
    "Part": "unimodal.part",
    "Sample": "unimodal.sample",
    "Side": "unimodal.side",
    "Tokens": "unimodal.tokens",
    "Transformer": "unimodal.transformer",
    "load": "unimodal.pretrained",
    "load_task": "unimodal.task",
}

__all__ = [
    "Batch",
    "Block",
    "Catalog",
    "InputError",
    "Model",
    "Part",
    "Sample",
    "Side",
    "Tokens",
    "Transformer",
    "load",
    "load_task",
]

if TYPE_CHECKING:
    from unimodal.block import Block
    from unimodal.catalog import Catalog
    from unimodal.errors import InputError
    from unimodal.model import Model
    from unimodal.part import Part
    from unimodal.pretrained import load
    from unimodal.sample import Batch, Sample
    from unimodal.side import Side
    from unimodal.task import load_task
    from unimodal.tokens import Tokens
    from unimodal.transformer import Transformer


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'unimodal' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
