"""MATLAB arrays: the numeric arrays of a MAT file of version 5, without a library.

Source: The MathWorks, "MAT-File Format" (version 5): elements, compressed elements, numeric arrays.
"""

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from unimodal.errors import InputError

__all__ = ["read_matlab_arrays"]

_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_MATRIX, _COMPRESSED, _COMPLEX = 14, 15, 0x0800


def read_matlab_arrays(content: bytes) -> dict[str, np.ndarray]:
    """The real, full, numeric arrays of a file, by name; cells, structures, texts and sparse arrays are passed over.

    Raises:
        InputError: the file ends within an element.
        ValueError, struct.error, zlib.error, KeyError: it is damaged in another way.
    """
    order = "<" if content[126:128] == b"IM" else ">"
    found = {}
    for kind, body in _elements(content, 128, order):
        if kind == _COMPRESSED:
            kind, body = next(_elements(zlib.decompress(body), 0, order), (0, b""))
        if kind == _MATRIX and (named := _array(body, order)) is not None:
            found[named[0]] = named[1]
    return found


def _elements(content: bytes, at: int, order: str) -> Iterator[tuple[int, bytes]]:
    while at + 8 <= len(content):
        kind, size = struct.unpack_from(f"{order}II", content, at)
        if kind >> 16:  # a small element: its data stand in the tag
            yield kind & 0xFFFF, content[at + 4 : at + 4 + (kind >> 16)]
            at += 8
            continue
        if at + 8 + size > len(content):
            raise InputError("", "is truncated (it ends within an array)", "give the whole file")
        yield kind, content[at + 8 : at + 8 + size]
        at += 8 + size + (-size % 8 if kind != _COMPRESSED else 0)


def _array(body: bytes, order: str) -> tuple[str, np.ndarray] | None:
    parts = _elements(body, 0, order)
    flags = struct.unpack_from(f"{order}I", next(parts)[1])[0]
    if flags & 0xFF not in _CLASSES or flags & _COMPLEX:
        return None
    shape = np.frombuffer(next(parts)[1], f"{order}i4")
    name = next(parts)[1].decode("latin-1")
    kind, data = next(parts)
    values = np.frombuffer(data, f"{order}{_TYPES[kind]}")
    return name, values.astype(_CLASSES[flags & 0xFF]).reshape(tuple(shape), order="F")
