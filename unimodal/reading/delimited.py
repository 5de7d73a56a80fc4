"""Delimited: CSV, TSV and their relatives as they come out of spreadsheets, as named columns of words.

Commas, semicolons, tabs or bars; points or commas as decimal signs; UTF-8 with or without a mark, UTF-16 and Windows
code pages; quoted fields with line breaks; a header or none.
"""

import csv
import io
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from unimodal.errors import InputError
from unimodal.reading.opening import open_stream, source_name
from unimodal.reading.plain_text import decoded

__all__ = ["Columns", "numbers", "read_delimited"]

_DELIMITERS = ",;\t|"
_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "-", "?", "#n/a", "#value!", "#div/0!", "."})
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?|[+-]?inf(inity)?", re.IGNORECASE)


@dataclass(frozen=True)
class Columns:
    """A table of words.

    Args:
        names: Of the columns; ``column 1`` ... where the file has no header.
        words: One list a column, all of one length, as they stand in the file, without the blanks around them.
        decimal_comma: Whether numbers are written with a comma.
        headed: Whether the file has a header.
        titles: Lines above the table that are none of its rows.
    """

    names: tuple[str, ...]
    words: tuple[list[str], ...]
    decimal_comma: bool
    headed: bool
    titles: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """How many rows there are below the header."""
        return len(self.words[0]) if self.words else 0


def read_delimited(source: Any, *, what: str = "a table") -> Columns:
    """Read a text of delimited columns.

    Args:
        source: A path, encoded bytes or a binary file object.
        what: For messages.

    Raises:
        InputError: it cannot be opened, is empty, is no text, has no rows below its header, or a row has another
            number of fields than the first (the line is named).
    """
    name = source_name(source)
    with ExitStack() as files:
        content = open_stream(source, files, what=what).read()
    if not content.strip():
        raise InputError(name, "is empty" if content else "is empty (0 bytes)", f"{what} has rows and columns")
    text, coding = decoded(content)
    if coding is None:
        remedy = "give lines of text with commas, semicolons or tabs between the fields"
        raise InputError(name, f"is no text, so it is not {what} ({text})", remedy)
    told = re.match(r"sep=(.)\r?\n", text)  # a spreadsheet's own way to say it
    titles, table, delimiter = _untitled(text[told.end() :] if told else text, told[1] if told else None)
    rows = _rows(table, delimiter, name, what, above=text.count("\n") - table.count("\n"))
    while len(rows) > 2 and _filled(rows[0]) == 1 < max(map(_filled, rows[1:11])):
        titles.append(next(filter(None, rows.pop(0))))
    headed = _headed(rows)
    body = rows[1:] if headed else rows
    if not body:
        raise InputError(name, "has a header and no rows")
    given = rows[0] if headed else [""] * len(rows[0])
    names = _unique([word or f"column {i + 1}" for i, word in enumerate(given)])
    columns = tuple(list(column) for column in zip(*body, strict=True))
    return Columns(names, columns, _decimal_comma(columns, delimiter), headed, tuple(titles))


def _rows(text: str, delimiter: str, name: str, what: str, *, above: int) -> list[list[str]]:
    """The rows that are not empty, all of one length; ``above`` lines of the file came before them."""
    rows: list[list[str]] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        for row in reader:
            words = [word.strip() for word in row]
            if not any(words):
                continue
            if rows and len(words) == len(rows[0]) + 1 and not words[-1]:
                words.pop()  # a delimiter behind the last field
            if rows and len(words) != len(rows[0]):
                cause = f"line {above + reader.line_num} has {len(words)} fields, the first row {len(rows[0])}"
                raise InputError(name, f"its rows are ragged: {cause}", "give every row the same number of fields")
            rows.append(words)
    except csv.Error as error:
        line = above + reader.line_num
        raise InputError(name, f"is no {what.removeprefix('a ')} ({error} in line {line})") from error
    if not rows:
        raise InputError(name, "is empty: no cell has anything in it", f"{what} has rows and columns")
    while len(rows) > 1 and len(rows[0]) > 1 and not any(row[-1] for row in rows):
        rows = [row[:-1] for row in rows]
    return rows


def _filled(row: list[str]) -> int:
    return sum(map(bool, row))


def numbers(words: Sequence[str], *, decimal_comma: bool = False) -> np.ndarray | None:
    """A column of words as float64, NaN where one is missing; None if a word is neither missing nor a number."""
    found = np.empty(len(words))
    for i, word in enumerate(words):
        if word.lower() in _MISSING:
            found[i] = np.nan
            continue
        plain = word.replace("\u2212", "-").replace("\u00a0", "").replace(" ", "").removesuffix("%")
        if not _NUMBER.fullmatch(plain):
            return None
        if "," in plain and not decimal_comma:
            return None
        found[i] = float(plain.replace(",", "."))
    return found


def _untitled(text: str, delimiter: str | None) -> tuple[list[str], str, str]:
    """The lines above the table, what is below them, and the delimiter of that."""
    lines = text.splitlines(keepends=True)
    shown = [i for i, line in enumerate(lines[:60]) if line.strip()]
    for above in range(min(10, max(len(shown) - 1, 1))):
        found = _delimiter([lines[i] for i in shown[above:]], _DELIMITERS if delimiter is None else delimiter)
        if found is not None:
            titles = [lines[i].strip() for i in shown[:above]]
            return titles, "".join(lines[shown[above] :]) if above else text, found
    return [], text, delimiter or ","


def _delimiter(lines: list[str], among: str) -> str | None:
    """The delimiter that splits every line, and most into the same number of fields, the most fields first."""
    best, most = None, 0.0
    for delimiter in among:
        counts = [len(row) for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True) if row]
        if not counts or min(counts) < 2:
            continue
        steady = sum(count == counts[0] for count in counts) / len(counts)
        score = counts[0] * steady**4
        if score > most:
            best, most = delimiter, score
    return best


def _headed(rows: list[list[str]]) -> bool:
    """The first row is a header if it is no row of values: names, with a number below at least one of them."""
    first = rows[0]
    if any(_is_number(word) for word in first):
        return False
    below = rows[1:51]
    if not below:
        return True
    if any(_is_number(row[i]) or _is_missing(row[i]) for row in below for i in range(len(first))):
        return True
    # Only words everywhere: a header repeats none of its words, and none of them occurs below it.
    repeated = any(word in {row[i] for row in below} for i, word in enumerate(first))
    return len(set(first)) == len(first) and not repeated


def _is_number(word: str) -> bool:
    return bool(word) and _NUMBER.fullmatch(word.removesuffix("%")) is not None


def _is_missing(word: str) -> bool:
    return word.lower() in _MISSING


def _decimal_comma(columns: tuple[list[str], ...], delimiter: str) -> bool:
    if delimiter == ",":
        return False
    words = [word for column in columns for word in column[:200]]
    commas = sum(re.fullmatch(r"[+-]?(\d*|\d{1,3}(\.\d{3})+),\d+([eE][+-]?\d+)?", word) is not None for word in words)
    points = sum(re.fullmatch(r"[+-]?(\d*|\d{1,3}(,\d{3})+)\.\d+([eE][+-]?\d+)?", word) is not None for word in words)
    return commas > points


def _unique(names: list[str]) -> tuple[str, ...]:
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return tuple(out)
