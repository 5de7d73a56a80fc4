"""Graph text: GraphML, GML and edge lists as graphs, without a library.

Source: GraphML: Brandes et al. 2002, "GraphML Progress Report"; GML: Himsolt 1997, "GML: A portable Graph File Format".
"""

import ast
import re
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

from unimodal.errors import InputError
from unimodal.reading.graph_data import GraphData, graph_of

__all__ = ["graph_from_text"]

_GML_WORD = re.compile(r'"([^"]*)"|(\[)|(\])|([^\s\[\]"]+)')
_GML = re.compile(r"\s*(#.*\s+|(Creator|Version|comment|label|directed)\b.*\s+)*graph\s*\[", re.IGNORECASE)
_HEADERS = frozenset({"source", "from", "src", "u", "node1", "node_1", "head", "fromnodeid"})
_TRUE, _FALSE = ("true", "1", "yes"), ("false", "0", "no")


def graph_from_text(text: str, source: str) -> GraphData:
    """The graph that a text describes; which form it has is seen from its beginning.

    An edge list has one edge a line: two names, and optionally a weight, a label or attributes in braces, between
    blanks, commas, semicolons or tabs; ``#`` and ``%`` start comments. It is undirected.

    Raises:
        InputError: the text is in none of the forms, is damaged, or describes no graph.
    """
    start = text.lstrip("\ufeff \t\r\n")
    if start.startswith("<"):
        return _graphml(start, source)
    return (
        _gml(start, source) if _GML.match(start) else graph_of(source, None, _edge_list(text, source), directed=False)
    )


def _graphml(text: str, source: str) -> GraphData:
    try:
        root = ElementTree.fromstring(text.encode("utf-8") if "encoding=" not in text[:100] else _undeclared(text))
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise InputError(source, f"is damaged XML ({error})", "give a whole GraphML file") from error
    if _tag(root) != "graphml":
        raise InputError(source, f"is XML of {_tag(root)!r}, not GraphML", "save the graph as GraphML or JSON")
    keys = {key.get("id"): key for key in root if _tag(key) == "key"}
    graph = next((child for child in root if _tag(child) == "graph"), None)
    if graph is None:
        raise InputError(source, "has no <graph>")
    directed = graph.get("edgedefault") == "directed"
    if next((e for e in graph.iter() if _tag(e) == "hyperedge"), None) is not None:
        raise InputError(source, "has hyperedges", "an edge has two ends")
    nodes = [(_attribute(e, "id", source), _data(e, keys, source)) for e in graph.iter() if _tag(e) == "node"]
    edges = []
    for element in graph.iter():
        if _tag(element) == "edge":
            directed = directed or element.get("directed") == "true"
            ends = _attribute(element, "source", source), _attribute(element, "target", source)
            edges.append((*ends, _data(element, keys, source)))
    return graph_of(source, nodes, edges, directed=directed)


def _undeclared(text: str) -> bytes:
    return re.sub(r"^<\?xml[^>]*\?>", "", text).encode("utf-8")


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _attribute(element: ElementTree.Element, name: str, source: str) -> str:
    value = element.get(name)
    if value is None:
        raise InputError(source, f"a <{_tag(element)}> has no {name!r}")
    return value


def _data(element: ElementTree.Element, keys: dict[str | None, ElementTree.Element], source: str) -> dict[str, Any]:
    given = {data.get("key"): (data.text or "").strip() for data in element if _tag(data) == "data" and not len(data)}
    for identity, key in keys.items():
        default = next((child.text for child in key if _tag(child) == "default"), None)
        if default is not None and key.get("for") in (_tag(element), "all"):
            given.setdefault(identity, default.strip())
    held: dict[str, Any] = {}
    for identity, word in given.items():
        key = keys.get(identity)
        kind = "string" if key is None else key.get("attr.type", "string")
        name = str(identity) if key is None else key.get("attr.name") or str(identity)
        try:
            numeric = kind in ("int", "long", "float", "double") and word
            held[name] = float(word) if numeric else _truth(word) if kind == "boolean" else word or None
        except ValueError:
            raise InputError(source, f"{name!r} is {word!r} and should be of type {kind}") from None
    return held


def _truth(word: str) -> bool | None:
    if word.lower() not in (*_TRUE, *_FALSE, ""):
        raise ValueError(word)
    return word.lower() in _TRUE if word else None


def _gml(text: str, source: str) -> GraphData:
    pairs: list[tuple[str, Any]] = []
    stack, key = [pairs], None
    for match in _GML_WORD.finditer(re.sub(r"(?m)^\s*#.*$", "", text)):
        quoted, opened, closed, bare = match.groups()
        if closed:
            if len(stack) == 1 or key is not None:
                raise InputError(source, "is damaged GML (a bracket too many)")
            stack.pop()
        elif key is None and not opened:
            key = bare if bare is not None else quoted
        elif opened and key is not None:
            inner: list[tuple[str, Any]] = []
            stack[-1].append((key, inner))
            stack.append(inner)
            key = None
        elif key is not None:
            stack[-1].append((key, quoted if quoted is not None else _scalar(bare)))
            key = None
        else:
            raise InputError(source, "is damaged GML (a bracket without a name)")
    if len(stack) > 1 or key is not None:
        raise InputError(source, "is truncated GML (a bracket is not closed)")
    graph = next((value for name, value in pairs if name.lower() == "graph" and isinstance(value, list)), [])
    nodes = [_gml_parts(value, ("id",), "node", source) for name, value in graph if name == "node"]
    edges = [_gml_parts(value, ("source", "target"), "edge", source) for name, value in graph if name == "edge"]
    directed = any(name == "directed" and value == 1 for name, value in graph)
    return graph_of(
        source,
        [(ends[0], held) for ends, held in nodes],
        [(ends[0], ends[1], held) for ends, held in edges],
        directed=directed,
    )


def _gml_parts(value: Any, names: tuple[str, ...], what: str, source: str) -> tuple[list[Any], dict[str, Any]]:
    held = _gml_mapping(value) if isinstance(value, list) else {}
    if absent := [name for name in names if name not in held]:
        raise InputError(source, f"a {what} has no {absent[0]!r}")
    held.pop("graphics", None)  # how it is drawn
    ends = [held.pop(name) for name in names]
    if what == "node":
        held.pop("label", None) if str(held.get("label")) == str(ends[0]) else None
    return ends, held


def _gml_mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: _gml_mapping(value) if isinstance(value, list) else value for name, value in pairs}


def _scalar(word: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def _edge_list(text: str, source: str) -> Iterator[tuple[Any, Any, dict[str, Any]]]:
    first = True
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), 1):
        line = line.partition("#")[0].strip()
        if not line or line.startswith("%"):
            continue
        head, brace, tail = line.partition("{")
        words = [word.strip("\"'") for word in re.split(r"\s*[,;\t]\s*|\s+", head.strip(" ,;\t"))]
        if first and words[0].lower() in _HEADERS:
            first = False
            continue
        first = False
        if len(words) < 2:
            raise InputError(source, f"line {number} has one word", "an edge is two names, and optionally a weight")
        yield words[0], words[1], _edge_attributes(words[2:], brace + tail, number, source)


def _edge_attributes(words: list[str], braces: str, number: int, source: str) -> dict[str, Any]:
    held: dict[str, Any] = {}
    for i, word in enumerate(words):
        value = _scalar(word)
        held[("label" if isinstance(value, str) else "weight") + (f" {i + 1}" if i else "")] = value
    if braces:
        try:
            given = ast.literal_eval(braces)
        except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
            raise InputError(source, f"line {number} has attributes that cannot be read ({braces[:40]})") from error
        held.update({str(k): v for k, v in given.items()} if isinstance(given, dict) else {})
    return held
