"""PLY: the polygon file format, as text or binary of either byte order, with any properties.

Source: Turk 1994, The PLY Polygon File Format (the format's own description).
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unimodal.errors import InputError
from unimodal.reading.cloud import Cloud
from unimodal.reading.polygons import triangles

__all__ = ["read_ply"]

_TYPES = {
    **{"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4"},
    **{"float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2"},
    **{"int32": "i4", "uint32": "u4", "int64": "i8", "uint64": "u8", "float32": "f4", "float64": "f8"},
}
_FORMATS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
_COLOURS = (("red", "green", "blue"), ("r", "g", "b"), ("diffuse_red", "diffuse_green", "diffuse_blue"))
_FACES = ("vertex_indices", "vertex_index")


@dataclass
class _Element:
    """A table of the file. A property is (name, type, type of the list's length or "" for a single value)."""

    name: str
    count: int
    properties: list[tuple[str, str, str]] = field(default_factory=list)


def read_ply(content: bytes, name: str) -> Cloud:
    """The vertices, their colours if there are any, and the faces as triangles.

    Args:
        content: Of the file.
        name: Of the file, for messages.

    Raises:
        InputError: the header is damaged or names a type that PLY does not have, there are no vertices or they have
            no x, y, z, fewer values follow than the header says, or a face is none.
    """
    order, elements, at = _header(content, name)
    tables: dict[str, dict[str, Any]] = {}
    body: Any = _Words(content[at:].split(), name) if order == "" else _Binary(content, at, order, name)
    for element in elements:
        if "vertex" in tables and element.name != "face":
            break  # nothing behind it is of interest
        tables[element.name] = body.table(element)
        if element.name == "face":
            break
    if "vertex" not in tables:
        known = ", ".join(element.name for element in elements) or "none"
        raise InputError(name, f"is a PLY file without vertices (its elements: {known})", "it needs an element vertex")
    vertex = tables["vertex"]
    missing = [axis for axis in "xyz" if not isinstance(vertex.get(axis), np.ndarray)]
    if missing:
        raise InputError(name, f"has vertices without {', '.join(missing)}", f"it has {', '.join(vertex) or 'nothing'}")
    xyz = np.stack([vertex[axis].astype(np.float64) for axis in "xyz"], -1)
    lists = next((tables["face"][key] for key in _FACES if key in tables.get("face", {})), None)
    faces = None if lists is None else triangles(lists, len(xyz), name)
    types = {key: kind for element in elements if element.name == "vertex" for key, kind, _ in element.properties}
    kind = "PLY " + ("ASCII" if order == "" else "binary")
    return Cloud(xyz, kind, _colours(vertex, types), faces)


def _header(content: bytes, name: str) -> tuple[str, list[_Element], int]:
    end = content.find(b"end_header", 0, 1 << 20)
    if end < 0:
        raise InputError(name, "is a PLY file whose header does not end", "it may be truncated")
    at = end + len(b"end_header")
    at += 2 if content[at : at + 2] == b"\r\n" else 1
    order, elements = None, []
    for line in content[:end].decode("latin-1").splitlines():
        words = line.split()
        if not words or words[0] in ("ply", "comment", "obj_info"):
            continue
        if words[0] == "format" and len(words) >= 2 and words[1] in _FORMATS:
            order = _FORMATS[words[1]]
        elif words[0] == "element" and len(words) == 3 and words[2].isdecimal():
            elements.append(_Element(words[1], int(words[2])))
        elif words[0] == "property" and len(words) in (3, 5) and elements:
            types = [words[1]] if len(words) == 3 else words[2:4]
            if unknown := [kind for kind in types if kind not in _TYPES]:
                known = ", ".join(list(_TYPES)[:8])
                raise InputError(name, f"has a property of the unknown type {unknown[0]!r}", f"PLY has {known}")
            length = _TYPES[types[0]] if len(types) == 2 else ""
            elements[-1].properties.append((words[-1], _TYPES[types[-1]], length))
        else:
            raise InputError(name, f"has a damaged PLY header (the line {line.strip()[:60]!r})")
    if order is None:
        raise InputError(name, "is a PLY file without a format line", f"allowed: {', '.join(_FORMATS)}")
    return order, elements, at


class _Words:
    """The body of a text file."""

    def __init__(self, words: list[bytes], name: str) -> None:
        self.words, self.at, self.name = words, 0, name

    def table(self, element: _Element) -> dict[str, Any]:
        single = not any(length for *_, length in element.properties)
        left, width = len(self.words) - self.at, len(element.properties)
        if element.count * width > left:
            raise _short(self.name, element, left // max(width, 1))
        if single:
            found = self._numbers(element.count * width).reshape(element.count, width)
            return {key: found[:, i] for i, (key, *_) in enumerate(element.properties)}
        columns: list[list[Any]] = [[] for _ in element.properties]
        for row in range(element.count):
            for column, (_, _, length) in zip(columns, element.properties, strict=True):
                size = int(self._numbers(1)[0]) if length else 1
                if not 0 <= size <= len(self.words) - self.at:
                    raise _short(self.name, element, row)
                values = self._numbers(size)
                column.append(values.astype(np.int64) if length else values[0])
        return {key: columns[i] for i, (key, *_) in enumerate(element.properties)}

    def _numbers(self, count: int) -> np.ndarray:
        words = self.words[self.at : self.at + count]
        self.at += count
        try:
            if len(words) < count:
                raise ValueError("it ends before")
            return np.array([float(word) for word in words])
        except (ValueError, OverflowError) as error:
            raise InputError(self.name, f"has a PLY body with something that is no number ({error})") from None


class _Binary:
    """The body of a binary file."""

    def __init__(self, content: bytes, at: int, order: str, name: str) -> None:
        self.content, self.at, self.order, self.name = content, at, order, name

    def table(self, element: _Element) -> dict[str, Any]:
        if not any(length for *_, length in element.properties):
            rows = self._rows(element, [(f"f{i}", self.order + k) for i, (_, k, _) in enumerate(element.properties)])
            return {key: rows[f"f{i}"] for i, (key, *_) in enumerate(element.properties)}
        return self._even_lists(element) or self._any_lists(element, element.count)

    def _rows(self, element: _Element, fields: list[Any]) -> np.ndarray:
        dtype = np.dtype(fields)
        left = len(self.content) - self.at
        if element.count * dtype.itemsize > left:  # before anything is allocated
            raise _short(self.name, element, left // dtype.itemsize)
        rows = np.frombuffer(self.content, dtype, element.count, self.at)
        self.at += rows.nbytes
        return rows

    def _even_lists(self, element: _Element) -> dict[str, Any] | None:
        """The table if every list has the length that it has in the first row, as in a mesh of triangles."""
        first = _Binary(self.content, self.at, self.order, self.name)
        probe = first._any_lists(element, min(element.count, 1))
        fields: list[Any] = []
        for i, (key, kind, length) in enumerate(element.properties):
            size = (len(probe[key][0]) if element.count else 0,) if length else ()
            fields += [(f"n{i}", self.order + length)] if length else []
            fields.append((f"f{i}", self.order + kind, size))
        if element.count * np.dtype(fields).itemsize > len(self.content) - self.at:
            return None
        before, rows = self.at, self._rows(element, fields)
        for i, (_, _, length) in enumerate(element.properties):
            if length and np.any(rows[f"n{i}"] != rows[f"f{i}"].shape[1]):
                self.at = before
                return None
        return {key: rows[f"f{i}"] for i, (key, *_) in enumerate(element.properties)}

    def _any_lists(self, element: _Element, rows: int) -> dict[str, Any]:
        columns: list[list[Any]] = [[] for _ in element.properties]
        for row in range(rows):
            for column, (_, kind, length) in zip(columns, element.properties, strict=True):
                size = int(self._values(element, row, length, 1)[0]) if length else 1
                values = self._values(element, row, kind, size)
                column.append(values.astype(np.int64) if length else values[0])
        return {key: columns[i] for i, (key, *_) in enumerate(element.properties)}

    def _values(self, element: _Element, row: int, kind: str, count: int) -> np.ndarray:
        dtype = np.dtype(self.order + kind)
        if count < 0 or count * dtype.itemsize > len(self.content) - self.at:
            raise _short(self.name, element, row)
        values = np.frombuffer(self.content, dtype, count, self.at)
        self.at += values.nbytes
        return values


def _short(name: str, element: _Element, found: int) -> InputError:
    plural = {"vertex": "vertices"}.get(element.name, f"{element.name}s")
    return InputError(name, f"has {found} of the {element.count} {plural} of its header", "it is truncated")


def _colours(vertex: dict[str, Any], types: dict[str, str]) -> np.ndarray | None:
    for names in _COLOURS:
        if all(isinstance(vertex.get(key), np.ndarray) for key in names):
            rgb = np.stack([vertex[key].astype(np.float32) for key in names], -1)
            whole = types[names[0]]
            top = 65535.0 if whole == "u2" else 255.0 if whole[0] in "iu" or rgb.max(initial=0.0) > 1 else 1.0
            return np.clip(rgb / top, 0.0, 1.0)
    return None
