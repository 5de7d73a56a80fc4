"""Graph data: named nodes with attributes, and edges between them, checked and without repetition of directions.

Axes: n nodes, m edges.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unimodal.errors import InputError

__all__ = ["GraphData", "graph_of"]


@dataclass(frozen=True, eq=False)
class GraphData:
    """A graph.

    Args:
        source: Its name.
        names: Of the nodes, as the source calls them, all different.
        nodes: The attributes of each node.
        pairs: (m, 2) int64, the places of each edge's ends in ``names``.
        edges: The attributes of each edge.
        directed: Whether (u, v) and (v, u) are two things. If not, an edge stands here once, in either order.
        part: Which part of the source this is, in words; empty if it is the whole.
    """

    source: str
    names: tuple[Any, ...]
    nodes: Sequence[Mapping[str, Any]]
    pairs: np.ndarray
    edges: Sequence[Mapping[str, Any]]
    directed: bool
    part: str = ""


def graph_of(
    source: str,
    nodes: Iterable[tuple[Any, Mapping[str, Any]]] | None,
    edges: Iterable[tuple[Any, Any, Mapping[str, Any]]],
    *,
    directed: bool | None,
    part: str = "",
) -> GraphData:
    """A graph of nodes by name and of edges between names.

    An undirected graph whose source lists every edge in both directions, alike, keeps one of each two.

    Args:
        source: The graph's name, for messages.
        nodes: (name, attributes); None where the edges name all nodes there are.
        edges: (name, name, attributes).
        directed: None where the source does not say: then a graph is undirected if every edge is listed in both
            directions with the same attributes.
        part: See :class:`GraphData`.

    Raises:
        InputError: there are no nodes, a name occurs twice or cannot be one, or an edge ends at no node.
    """
    places: dict[Any, int] = {}
    attributes: list[Mapping[str, Any]] = []
    for name, held in nodes or ():
        if _place(places, name, source) is not None:
            raise InputError(source, f"two nodes are called {name!r}", "give each node a name of its own")
        places[name] = len(places)
        attributes.append(held)
    pairs, kept = [], []
    for a, b, held in edges:
        ends = []
        for name in (a, b):
            place = _place(places, name, source)
            if place is None and nodes is not None:
                cause = f"the edge from {a!r} to {b!r} ends at {name!r}, which is no node"
                raise InputError(source, cause, "list every node, or none")
            if place is None:
                place = places[name] = len(places)
                attributes.append({})
            ends.append(place)
        pairs.append(ends)
        kept.append(held)
    if not places:
        raise InputError(source, "has no nodes", "a graph has at least one node")
    array = np.array(pairs, np.int64).reshape(-1, 2)
    if not directed:
        once = _one_of_each_two(array, kept)
        if once is not None:
            array, kept = array[once], [kept[i] for i in once]
        directed = directed is None and once is None and len(array) > 0
    return GraphData(source, tuple(places), attributes, array, kept, bool(directed), part)


def _place(places: dict[Any, int], name: Any, source: str) -> int | None:
    try:
        return places.get(name)
    except TypeError:
        raise InputError(source, f"a node is called {name!r:.60}", "a name is a number or a string") from None


def _one_of_each_two(pairs: np.ndarray, held: Sequence[Mapping[str, Any]]) -> list[int] | None:
    """The edges to keep if every one that is no loop stands there in both directions, alike; else None."""
    between = pairs[pairs[:, 0] != pairs[:, 1]]
    if not len(between):
        return None
    counts = Counter(map(tuple, between.tolist()))
    if any(counts[b, a] != count for (a, b), count in counts.items()):
        return None
    marks = Counter((a, b, repr(h)) for (a, b), h in zip(pairs.tolist(), held, strict=True) if a != b)
    if any(marks[b, a, mark] != count for (a, b, mark), count in marks.items()):
        return None
    return [i for i, (a, b) in enumerate(pairs.tolist()) if a <= b]
