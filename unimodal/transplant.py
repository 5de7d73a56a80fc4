"""Transplant: the frozen weights of a model of texts or pictures, into a guided one that reads points.

Source: Tang et al. 2024, arXiv:2404.07989 (what is frozen and what is trained), and its released code,
github.com/Ivan-Tang-3D/Any2Point, Any2Point_CLIP_Lang, examples/classification/train.py.
Axes: L rows of a position table, D width.
"""

from typing import Any

import torch

from unimodal.ffns.bottlenecked import Bottlenecked
from unimodal.model import Model
from unimodal.positions.learned import Learned

__all__ = ["transplant"]


def transplant(model: Model, source: Model) -> tuple[str, ...]:
    """Copy the blocks, the last norm and the position table of ``source`` into ``model``; the names that are trained.

    Blocks are frozen, but for their bottlenecks; the table is a buffer. Trained are the tokenizers, the prefix and its
    position, bottlenecks, aggregations, the last norm and the readout. In place; what ``model`` copies is its own.

    Args:
        model: With a :class:`~unimodal.guided.Guided` transformer, such as :func:`unimodal.recipes.any2point.any2point`
            makes of the source's Part.
        source: With a Transformer of the same blocks and one :class:`~unimodal.positions.learned.Learned` table.

    Raises:
        ValueError: the source has no or several learned tables, or its weights do not fit the model.
    """
    tables = [part for part in source.positions.values() if isinstance(part, Learned)]
    if len(tables) != 1:
        raise ValueError(f"the source must have one learned position table, not {len(tables)}")
    guided: Any = model.transformer
    ours, theirs = guided.source.core, source.transformer
    if len(ours.blocks) != len(theirs.blocks) or guided.source.position.table.shape != tables[0].table.shape:
        raise ValueError(
            f"the model has {len(ours.blocks)} blocks and a table {tuple(guided.source.position.table.shape)}, "
            f"the source {len(theirs.blocks)} and {tuple(tables[0].table.shape)}"
        )
    inner = {f"{name}." for name, module in ours.named_modules() if isinstance(module, Bottlenecked)}
    given = {_within(name, inner): tensor for name, tensor in theirs.state_dict().items()}
    try:
        missing, left = ours.load_state_dict(given, strict=False)
    except RuntimeError as error:
        raise ValueError(f"the source's weights do not fit the model: {error}") from error
    new = [name for name in missing if not any(name.startswith((f"{at}to_hidden", f"{at}to_out")) for at in inner)]
    if new or left:
        raise ValueError(f"the source's weights do not fit the model: without {new}, left over {left}")
    with torch.no_grad():
        guided.source.position.table.copy_(tables[0].table)
    for name, parameter in ours.named_parameters():
        parameter.requires_grad_(name not in given or name.startswith("norm."))
    return tuple(name for name, parameter in model.named_parameters() if parameter.requires_grad)


def _within(name: str, inner: set[str]) -> str:
    """The name of a feed-forward's tensor where the feed-forward is inside of a bottlenecked one."""
    at = next((prefix for prefix in inner if name.startswith(prefix)), None)
    return name if at is None else f"{at}ffn.{name[len(at) :]}"
