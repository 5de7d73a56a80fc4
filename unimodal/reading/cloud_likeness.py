"""Cloud likeness: how sure one can be, from its name and first bytes, that a file holds a point cloud or a mesh."""

import re
import struct
from pathlib import Path

__all__ = ["cloud_likeness"]

_MAGIC = (b"ply\n", b"ply\r", b"# .PCD", b"#.PCD", b"LASF", b"ASTM-E57", b"glTF")
_LISTS = (".xyz", ".xyzn", ".xyzrgb", ".pts", ".asc")
_TIMES = ("t", "time", "timestamp", "date", "datetime", "seconds", "ms", "sample", "frame")


def cloud_likeness(path: Path) -> float:
    """0 to 1; above 0.5 only where the content speaks for it.

    Text counts if its columns are called x, y, z (less so beside a column of times, as sensors write), or if its lines
    are equally many numbers; an array if its header says (N, 3) or (N, 6). A molecule's XYZ file is none.

    Args:
        path: Of the file. What cannot be read gives the likeness of its name.
    """
    suffix, start = path.suffix.lower(), b""
    try:
        with path.open("rb") as file:
            start = file.read(4096)
    except OSError:
        pass
    if start.startswith(_MAGIC):
        return 1.0
    if start.startswith(b"\x93NUMPY"):
        return _array(start)
    if start.startswith(b"PK\x03\x04"):
        named = re.match(rb"(points?|xyz|pos|positions|coord\w*|point_cloud|pc|vertices)\.npy", start[30:])
        return 0.7 if named else 0.1 if suffix == ".npz" else 0.0
    if suffix in (".csv", ".txt", *_LISTS) or not suffix:
        return _text(start, suffix)
    if suffix == ".obj":
        return 0.9 if re.search(rb"^v\s", start, re.MULTILINE) else 0.5
    return 0.9 if suffix in (".stl", ".off") else 0.5


def _array(start: bytes) -> float:
    length = struct.unpack("<H", start[8:10])[0] if start[6:7] == b"\x01" else 200
    shape = re.search(rb"'shape': \((\d+), (\d+)\)", start[10 : 12 + length])
    kind = re.search(rb"'descr': '[<>|=]?[fiu]", start[10 : 12 + length])
    if shape is None or kind is None or int(shape[1]) < 8:
        return 0.0
    return {3: 0.6, 6: 0.55, 4: 0.3}.get(int(shape[2]), 0.0)


def _text(start: bytes, suffix: str) -> float:
    named = 0.5 if suffix in _LISTS else 0.0
    if b"\0" in start:
        return named
    lines = [line.strip() for line in start.decode("utf-8", errors="replace").splitlines()]
    lines = [line for line in (lines[:-1] if len(start) == 4096 else lines) if line]
    if not lines:
        return named
    words = [word.strip("\"' []()").lower() for word in re.split(r"[,;\t| ]+", lines[0].lstrip("#/ "))]
    if {"x", "y", "z"} <= set(words):
        return 0.2 if set(words) & set(_TIMES) else 0.85
    rows = [re.split(r"[,;\t| ]+", line) for line in lines if not line.startswith(("#", "//"))]
    rows = rows[1:] if rows and len(rows[0]) == 1 and rows[0][0].isdecimal() else rows
    if not rows or not all(len(row) == len(rows[0]) >= 3 and all(map(_number, row)) for row in rows):
        return 0.2 if suffix in _LISTS else 0.0
    if suffix in _LISTS:
        return 0.9
    likely = len(rows) >= 3 and len(rows[0]) in (3, 4, 6, 7)
    return 0.0 if not likely else 0.3 if suffix == ".csv" else 0.7


def _number(word: str) -> bool:
    return re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", word) is not None
