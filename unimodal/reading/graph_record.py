"""Graph record: which nodes and edges became tokens, and the way from tokens back to edges.

Source: Kim et al. 2022, arXiv:2207.02505, sec. 2 (identifiers of an edge's ends); attributes: Weinberger et al. 2009,
arXiv:0902.2206, def. 1.
Axes: n nodes, m edges, M buckets, P identifier's width, F = M + 2 P + 2 values of a token.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unimodal.errors import InputError
from unimodal.hashed_code import hashed_code

__all__ = ["GraphRecord", "attribute_code"]


@dataclass(frozen=True)
class GraphRecord:
    """What was taken of a graph.

    Args:
        source: The graph's name.
        names: Of the n nodes that were taken, in the order of their tokens.
        edges: The ends of the m edges that were taken, as places in ``names``.
        directed: Whether the order of an edge's ends means something.
        size: Nodes and edges of the whole graph.
        buckets: M.
        width: P.
        part: Which part of the source the graph is, in words; empty if it is the whole.
    """

    source: str
    names: tuple[Any, ...]
    edges: tuple[tuple[int, int], ...]
    directed: bool
    size: tuple[int, int]
    buckets: int
    width: int
    part: str = ""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out of it, in words."""
        nodes, edges = self.size
        cut = f"{len(self.names)} of {nodes} nodes and {len(self.edges)} of {edges} edges were taken"
        whole = (len(self.names), len(self.edges)) == self.size
        return tuple(filter(None, (self.part, "" if whole else cut)))

    def restore(self, values: Tensor) -> list[tuple[Any, Any]]:
        """The edges that the identifiers tell, as names of nodes: each end is the node whose identifier is nearest.

        It is exact for graphs of at most P nodes. In larger ones nodes with equal identifiers stand for one another.

        Shapes:
            values: (n + m, F), what :meth:`Graph.read` gives as ``sample.data`` or :meth:`Graph.detokenize` gives back.
        """
        n, (m, p) = len(self.names), (self.buckets, self.width)
        values = values.detach().cpu().double()
        own = values[:n, m : m + p]
        ends = [
            torch.cdist(values[n:, m + k * p : m + (k + 1) * p], own).argmin(1).tolist() if len(values) > n else []
            for k in (0, 1)
        ]
        return [(self.names[u], self.names[v]) for u, v in zip(*ends, strict=True)]


def attribute_code(held: Mapping[str, Any], *, buckets: int, hashes: int, source: str, owner: str) -> np.ndarray:
    """sum over numbers of asinh(value) code(name) + sum over words of code(name, word).

    Entries of lists are attributes of their own (``x[0]``, ``x[1]`` ...), those of mappings too (``a.b``). Booleans
    are words, and so is a missing value (None).

    Raises:
        InputError: a number is not finite, or something is neither number nor word.

    Shapes:
        returns (M,) float64.
    """
    total, size = np.zeros(buckets), {"buckets": buckets, "hashes": hashes}
    for name, value in _scalars(held, ""):
        if value is None:
            total += hashed_code((name, "", "missing"), **size)
        elif isinstance(value, str | bool | np.bool_):
            total += hashed_code((name, str(value).lower() if not isinstance(value, str) else value), **size)
        elif isinstance(value, int | float | np.number) and math.isfinite(value):
            total += math.asinh(value) * hashed_code((name,), **size)
        else:
            cause = f"the attribute {name!r} of {owner} is {value!r:.60}"
            raise InputError(source, cause, "an attribute is a finite number, a word or a list of them")
    return total


def _scalars(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _scalars(item, f"{name}.{key}" if name else str(key))
    elif hasattr(value, "tolist") and getattr(value, "ndim", 0) > 0:
        yield from _scalars(value.tolist(), name)
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from _scalars(item, f"{name}[{i}]")
    else:
        yield name, value.item() if hasattr(value, "item") else value
