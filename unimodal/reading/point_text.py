"""Point text: XYZ, PTS, CSV and other lists of points, one a line, with or without names, counts and colours."""

import re

import numpy as np

from unimodal.errors import InputError
from unimodal.reading.cloud import Cloud

__all__ = ["read_point_text"]

_MARKS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
_AXES = {
    "x": ("x", "px", "points:0", "points_0", "x_coord", "easting"),
    "y": ("y", "py", "points:1", "points_1", "y_coord", "northing"),
    "z": ("z", "pz", "points:2", "points_2", "z_coord", "height", "elevation"),
}
_COLOURS = {"r": ("r", "red"), "g": ("g", "green"), "b": ("b", "blue")}


def read_point_text(content: bytes, name: str) -> Cloud:
    """Coordinates from the columns named x, y, z, or the first three; colours from r, g, b where they are.

    Blanks, tabs, commas, semicolons or bars separate; with semicolons, tabs or blanks a comma may be the decimal sign.
    Lines that begin with # or // are comments, a first line with one whole number is the count of points. Without
    names, three columns behind the coordinates (behind an intensity too) are colours if all are 0 to 255 and whole, or
    0 to 1. Other columns are not used.

    Args:
        content: Of the file.
        name: Of the file, for messages.

    Raises:
        InputError: it is no text, has no points, a line has another number of columns than the first or something
            that is no number (the line is named), or there are fewer than three columns.
    """
    lines, names = _lines(_decoded(content, name), name)
    width = len(lines[0][1].split())
    for number, line in lines:
        if (columns := len(line.split())) != width:
            cause = f"line {number} has {columns} columns, the first point {width}"
            raise InputError(name, f"its points are ragged: {cause}", "give every point the same columns")
    if width < 3:
        raise InputError(name, f"has {width} columns", "a point needs x, y and z")
    try:
        table = np.array(list(map(float, " ".join(line for _, line in lines).split()))).reshape(-1, width)
    except ValueError:
        number, word = next((n, w) for n, line in lines for w in line.split() if not _is_number(w))
        raise InputError(name, f"line {number}: {word[:40]!r} is no number", "give points as lines of x y z") from None
    at = _named(names, width, _AXES) or [0, 1, 2]
    colours = _named(names, width, _COLOURS) if names else None
    rgb = _colours(table[:, colours]) if colours else None
    if not names:
        behind = [[i, i + 1, i + 2] for i in (3, 4) if width >= i + 3]
        rgb = next((found for at_rgb in behind if (found := _colours(table[:, at_rgb])) is not None), None)
    return Cloud(table[:, at], "point list", rgb)


def _decoded(content: bytes, name: str) -> str:
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            return content.decode(encoding, errors="replace")
    sample = content[:4096]
    if b"\0" in sample or sum(byte < 9 or 13 < byte < 32 or byte > 126 for byte in sample) > 0.1 * len(sample):
        raise InputError(name, "is no point cloud and no mesh", f"it begins with {content[:8]!r}")
    return content.decode("utf-8", errors="replace")


def _lines(text: str, name: str) -> tuple[list[tuple[int, str]], list[str]]:
    """The points' lines with their numbers, words apart by blanks, and the names of the columns if there are any."""
    names: list[str] = []
    lines = text.splitlines()
    first = 0
    for line in map(str.strip, lines):
        comment = line.startswith(("#", "//"))
        if line and not comment and (names or _is_number(_words(line.replace(",", " "))[0])):
            break
        called = [word.strip("\"'[]()").lower() for word in _words(line.lstrip("#/ "), names=True)]
        if not names and _named(called, len(called), _AXES):
            names = called
        elif line and not comment:
            break
        first += 1
    body = lines[first:]
    if "#" in text or "//" in text:
        body = ["" if line.lstrip().startswith(("#", "//")) else line for line in body]
    comma = "," in text and _decimal_comma([line for line in body[:50] if line.strip()])
    plain = "\n".join(body).translate({44: "." if comma else " ", 59: " ", 124: " ", 34: None}).split("\n")
    found = [(number, line) for number, line in enumerate(plain, first + 1) if line and not line.isspace()]
    if not found:
        raise InputError(name, "has no points" if text.strip() else "is empty")
    if len(found) > 1 and found[0][1].strip().isdecimal():
        if len(found) > 2 and not _is_number(word := found[2][1].split()[0]):
            cause = f"line {found[2][0]} begins with {word[:20]!r}, as in a molecule's XYZ file"
            raise InputError(name, f"has no points: {cause}", "give points as lines of x y z")
        found = found[1:]
    return found, names


def _words(line: str, *, names: bool = False) -> list[str]:
    if names and re.search(r"[,;\t|]", line):
        return [word.strip() for word in re.split(r"[,;\t|]", line)]
    return line.replace(";", " ").replace("|", " ").split() or [""]


def _decimal_comma(lines: list[str]) -> bool:
    """Whether commas stand in numbers: three or more fields without them, none of which begins or ends with one."""
    commas = [line for line in lines if "," in line]
    fields = [word for line in commas for word in _words(line)]
    whole = all(re.fullmatch(r"[+-]?\d*,?\d*([eE][+-]?\d+)?", word) and word.strip(",") == word for word in fields)
    return bool(commas) and whole and all(len(_words(line)) >= 3 for line in commas)


def _named(names: list[str], width: int, wanted: dict[str, tuple[str, ...]]) -> list[int] | None:
    if len(names) != width:
        return None
    found = [next((names.index(alias) for alias in aliases if alias in names), None) for aliases in wanted.values()]
    return None if None in found else [i for i in found if i is not None]


def _colours(values: np.ndarray) -> np.ndarray | None:
    low, high = values.min(initial=0.0), values.max(initial=0.0)
    if low < 0 or high > 255 or not np.isfinite(values).all():
        return None
    if high <= 1:
        return values.astype(np.float32)
    return (values / 255).astype(np.float32) if np.all(values == values.round()) else None


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
