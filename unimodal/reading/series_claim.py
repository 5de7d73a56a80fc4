"""Series claim: whether the beginning of a file looks like columns of numbers over time."""

import zlib
from pathlib import Path

import pyarrow.parquet as pq

from unimodal.errors import InputError
from unimodal.reading.series import Series, open_series

__all__ = ["looks_like_series", "opened_head"]

_HEAD = 16_384  # bytes


def looks_like_series(path: Path) -> str:
    """``timed`` (numbers and a column of times), ``numbers`` (nothing else), ``table`` or nothing."""
    try:
        if path.suffix.lower() == ".parquet":
            kinds = [str(kind) for kind in pq.read_schema(path).types]
            timed = any(kind.startswith(("timestamp", "date")) for kind in kinds)
            numbers = [kind.startswith(("int", "uint", "float", "double", "half", "bool", "decimal")) for kind in kinds]
            return "timed" if timed and sum(numbers) == len(kinds) - 1 else "numbers" if all(numbers) else "table"
        series = opened_head(path)
    except InputError:
        return "table"
    except Exception:
        return ""
    if any("(text)" in note for note in series.notes):
        return "table"
    return "numbers" if series.times_s is None else "timed"


def opened_head(path: Path) -> Series:
    """The series that the first whole lines of a text file hold.

    Raises:
        InputError: they hold none.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD + 1)
    whole = len(head) <= _HEAD
    if head[:2] == b"\x1f\x8b":
        head, whole = zlib.decompressobj(31).decompress(head, _HEAD), False
    if not whole and b"\n" in head:
        head = head[: head.rindex(b"\n") + 1]
    return open_series(head)
