"""Graph source: JSON, GraphML, GML, edge lists, molecules, and objects of graph libraries, as one kind of graph."""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from unimodal.errors import InputError, MissingExtraError
from unimodal.reading.graph_data import GraphData, graph_of
from unimodal.reading.graph_text import graph_from_text
from unimodal.reading.molecule import looks_like_smiles, molecule_graph
from unimodal.reading.opening import open_stream, source_name, told

__all__ = ["SUFFIXES", "read_graph"]

_MOLECULES = {".smi": "smi", ".smiles": "smi", ".sdf": "mol", ".mol": "mol"}
SUFFIXES = (".json", ".graphml", ".gml", ".edges", ".edgelist", *_MOLECULES)
_MOST = 1_000_000
_ENDS = (("source", "target"), ("from", "to"), ("src", "dst"), ("u", "v"))
_NODE_ROWS, _EDGE_ROWS = ("x", "z", "pos", "node_attr", "node_feat"), ("edge_attr", "edge_feat", "edge_weight")


def read_graph(source: Any) -> GraphData:
    """A graph from nearly anything that holds one.

    Args:
        source: A path, bytes or binary file of JSON, GraphML, GML, an edge list, SMILES lines, MOL or SDF; a SMILES
            string; a mapping, with ``nodes`` and ``edges`` (or ``links``), or ``adjacency``, or ``edge_index`` (and
            x, edge_attr, num_nodes), or names to lists of neighbours; a square array of weights (0 is no edge); a
            networkx graph, or an object with ``edge_index``.

    Raises:
        InputError: it is none of these, is damaged, or contradicts itself.
        MissingExtraError: it is a molecule and RDKit is not installed.
    """
    try:
        return _read(source)
    except (InputError, MissingExtraError):
        raise
    except Exception as error:  # what stands in a mapping may be anything
        raise InputError(source_name(source)[:200], f"cannot be read as a graph ({told(error)})") from error


def _read(source: Any) -> GraphData:
    name = source_name(source)
    if isinstance(source, Mapping):
        return _of_mapping(source, name)
    if isinstance(source, np.ndarray) or (isinstance(source, list) and source):
        return _of_matrix(source, name)
    if hasattr(source, "edge_index"):
        held = {key: getattr(source, key, None) for key in ("edge_index", "num_nodes", *_NODE_ROWS, *_EDGE_ROWS)}
        return _of_edge_index({key: value for key, value in held.items() if value is not None}, name)
    if hasattr(source, "is_directed") and hasattr(source, "nodes") and hasattr(source, "edges"):
        return _of_networkx(source, name)
    suffix = Path(name).suffix.lower() if isinstance(source, str | os.PathLike) else ""
    if isinstance(source, str) and suffix not in SUFFIXES and not _exists(source):
        if looks_like_smiles(source):
            return molecule_graph(source, "smiles", name)
        raise InputError(name[:200], "does not exist, and is no SMILES string", "give a path or a SMILES string")
    with ExitStack() as files:
        content = open_stream(source, files, what="a graph", also="a mapping, a networkx graph, a SMILES string").read()
    return _of_text(_decoded(content, name), suffix or Path(name).suffix.lower(), name)


def _of_networkx(graph: Any, name: str) -> GraphData:
    edges = ((u, v, dict(held)) for u, v, held in graph.edges(data=True))
    return graph_of(name, [(n, dict(h)) for n, h in graph.nodes(data=True)], edges, directed=graph.is_directed())


def _exists(source: str) -> bool:
    try:
        return os.path.exists(source)
    except ValueError:
        return False


def _decoded(content: bytes, name: str) -> str:
    if not content.strip():
        raise InputError(name, "is empty", "a graph has at least one node")
    marked = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = content.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    odd = sum(not (c.isprintable() or c.isspace()) for c in text[:4096])
    if odd > 0.01 * min(len(text), 4096):
        raise InputError(name, "is no text, so it is no graph", "give JSON, GraphML, GML, an edge list or SMILES")
    return text


def _of_text(text: str, suffix: str, name: str) -> GraphData:
    if suffix in _MOLECULES or "V2000" in text[:1000] or "V3000" in text[:1000]:
        return molecule_graph(text, _MOLECULES.get(suffix, "mol"), name)
    if suffix != ".json" and text.lstrip()[:1] not in ("{", "["):
        return graph_from_text(text, name)
    try:
        held = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(name, f"is damaged JSON ({told(error)})", "give a whole JSON document") from error
    if isinstance(held, list) and held:
        return _of_matrix(held, name)
    if not isinstance(held, dict):
        raise InputError(name, f"holds a {type(held).__name__}, not a graph", "give nodes and edges")
    return _of_mapping(held, name)


def _of_mapping(held: Mapping[str, Any], name: str) -> GraphData:
    if "edge_index" in held:
        return _of_edge_index(held, name)
    if isinstance(held.get("elements"), Mapping):  # Cytoscape
        parts = held["elements"]
        unpacked = {k: [item.get("data", {}) for item in _items(parts.get(k, []), k, name)] for k in ("nodes", "edges")}
        return _of_mapping(unpacked, name)
    if isinstance(held.get("graph"), Mapping) and "nodes" in held["graph"]:  # JSON Graph Format
        return _of_mapping(held["graph"], name)
    listed = next((held[key] for key in ("edges", "links") if key in held), None)
    edges = [_edge(item, name) for item in _items(listed or [], "edges", name)]
    nodes = None
    if held.get("nodes") is not None:
        nodes = _nodes(held["nodes"], name, {end for edge in edges for end in edge[:2]})
    if "adjacency" in held:
        return _of_adjacency(held["adjacency"], nodes, name, directed=held.get("directed"))
    if listed is None and nodes is None:
        if held and all(isinstance(v, list | tuple | set | Mapping) for v in held.values()):
            return _of_neighbours(held, name)
        raise InputError(name, f"has neither nodes nor edges (its keys: {', '.join(map(str, list(held)[:8]))})")
    return graph_of(name, nodes, edges, directed=bool(held.get("directed")))


def _items(value: Any, what: str, name: str) -> Sequence[Any]:
    if isinstance(value, Mapping):
        return [item if isinstance(item, Mapping) else {"value": item} for item in value.values()]
    if not isinstance(value, list | tuple) or any(item is None for item in value):
        raise InputError(name, f"{what!r} is a {type(value).__name__}", f"{what} are a list")
    return value


def _nodes(value: Any, name: str, ends: set[Any]) -> list[tuple[Any, Mapping[str, Any]]]:
    if isinstance(value, int) and not isinstance(value, bool):
        return [(i, {}) for i in range(_counted(value, name))]
    if isinstance(value, Mapping):
        return [(key, held if isinstance(held, Mapping) else {"value": held}) for key, held in value.items()]
    items = _items(value, "nodes", name)
    if all(isinstance(item, Mapping) for item in items):
        for key in ("id", "key", "name", "label"):
            if all(key in item for item in items) and (key == "id" or ends <= {item[key] for item in items}):
                return [(item[key], {k: v for k, v in item.items() if k != key}) for item in items]
        return list(enumerate(items))
    pairs = all(isinstance(item, list | tuple) and len(item) == 2 and isinstance(item[1], Mapping) for item in items)
    return [(item[0], item[1]) if pairs else (item, {}) for item in items]


def _counted(count: int, name: str) -> int:
    if count > _MOST:
        raise InputError(name, f"has {count} nodes", f"give a part of at most {_MOST}")
    return count


def _edge(item: Any, name: str) -> tuple[Any, Any, Mapping[str, Any]]:
    if isinstance(item, Mapping):
        for a, b in _ENDS:
            if a in item and b in item:
                return item[a], item[b], {k: v for k, v in item.items() if k not in (a, b, "key")}
        raise InputError(name, f"an edge has no ends (its keys: {', '.join(map(str, item))})", "give source and target")
    if not isinstance(item, list | tuple) or not 2 <= len(item) <= 3:
        raise InputError(name, f"{item!r:.60} is no edge", "an edge is (u, v), with a weight or attributes")
    held = item[2] if len(item) == 3 else {}
    return item[0], item[1], held if isinstance(held, Mapping) else {"weight": held}


def _of_adjacency(value: Any, nodes: list[Any] | None, name: str, *, directed: bool | None) -> GraphData:
    if isinstance(value, Mapping):
        return _of_neighbours(value, name)
    rows = _items(value, "adjacency", name)
    if nodes is None or not any(isinstance(item, Mapping) for row in rows for item in _items(row, "adjacency", name)):
        return _of_matrix(rows, name, nodes=nodes, directed=directed)
    if len(rows) != len(nodes):
        raise InputError(name, f"has {len(nodes)} nodes and an adjacency of {len(rows)}")
    edges = [
        (u, item.get("id"), {k: v for k, v in item.items() if k not in ("id", "key")})
        for (u, _), row in zip(nodes, rows, strict=True)
        for item in row
    ]
    return graph_of(name, nodes, edges, directed=directed or None)


def _of_neighbours(held: Mapping[Any, Any], name: str) -> GraphData:
    """{name: [neighbours]} or {name: {neighbour: attributes or weight}}."""
    edges = []
    for u, others in held.items():
        for v in others:
            given = others[v] if isinstance(others, Mapping) else {}
            edges.append((u, v, given if isinstance(given, Mapping) else {"weight": given}))
    listed = [*held, *(v for _, v, _ in edges)]
    try:
        nodes = [(n, {}) for n in dict.fromkeys(listed)]
    except TypeError:
        raise InputError(name, "a neighbour's name is a list", "a name is a number or a string") from None
    return graph_of(name, nodes, edges, directed=None)


def _of_matrix(value: Any, name: str, *, nodes: list[Any] | None = None, directed: bool | None = None) -> GraphData:
    if nodes is None and _is_edges(value):
        return graph_of(name, None, [_edge(item, name) for item in value], directed=False)
    try:
        matrix = np.asarray(value, dtype=np.float64)
    except (ValueError, TypeError):
        raise InputError(name, "is a list that is no square matrix of numbers", "give nodes and edges") from None
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or (nodes is not None and len(nodes) != len(matrix)):
        count = "" if nodes is None else f" for {len(nodes)} nodes"
        raise InputError(name, f"an adjacency of shape {matrix.shape}{count} is not square", "give one row a node")
    weighted = bool(((matrix != 0) & (matrix != 1)).any())
    places = np.argwhere(matrix != 0).tolist()
    edges = [(i, j, {"weight": float(matrix[i, j])} if weighted else {}) for i, j in places]
    if nodes is not None:
        edges = [(nodes[i][0], nodes[j][0], held) for i, j, held in edges]
    return graph_of(name, nodes or [(i, {}) for i in range(len(matrix))], edges, directed=directed or None)


def _is_edges(value: Any) -> bool:
    """A list of edges and no square matrix."""
    if not isinstance(value, list | tuple):
        return False
    pairs = all(isinstance(item, list | tuple) and 2 <= len(item) <= 3 for item in value)
    square = pairs and all(len(item) == len(value) for item in value)
    return all(isinstance(item, Mapping) for item in value) or (pairs and not square)


def _of_edge_index(held: Mapping[str, Any], name: str) -> GraphData:
    try:
        index = np.asarray(held["edge_index"])
        index = index.reshape(2, 0) if index.size == 0 else index
        rows = {k: _rows(held[k]) for k in (*_NODE_ROWS, *_EDGE_ROWS) if held.get(k) is not None}
    except (ValueError, TypeError) as error:
        raise InputError(name, f"its edge_index or features are no arrays ({told(error)})") from error
    if index.ndim != 2 or index.shape[0] != 2 or (index.size and index.dtype.kind not in "iu"):
        raise InputError(
            name, f"edge_index has shape {index.shape} of {index.dtype}", "it is two rows of whole numbers"
        )
    sizes = {k: len(v) for k, v in rows.items() if k in _NODE_ROWS}
    if held.get("num_nodes") is not None:
        sizes["num_nodes"] = _counted(int(held["num_nodes"]), name)
    if len(set(sizes.values())) > 1:
        raise InputError(name, f"its numbers of nodes contradict one another ({sizes})")
    count = next(iter(sizes.values()), _counted(int(index.max(initial=-1)) + 1, name))
    for k in _EDGE_ROWS:
        if k in rows and len(rows[k]) != index.shape[1]:
            raise InputError(name, f"{k} has {len(rows[k])} rows for {index.shape[1]} edges")
    nodes = [(i, {k: v[i] for k, v in rows.items() if k in _NODE_ROWS}) for i in range(count)]
    own = [{k: v[j] for k, v in rows.items() if k in _EDGE_ROWS} for j in range(index.shape[1])]
    edges = ((u, v, attributes) for (u, v), attributes in zip(index.T.tolist(), own, strict=True))
    return graph_of(name, nodes, edges, directed=held.get("directed"))


def _rows(value: Any) -> list[Any]:
    """The rows of an array, each a number or a list, so that equal ones look alike."""
    return value.tolist() if hasattr(value, "tolist") else list(value)
