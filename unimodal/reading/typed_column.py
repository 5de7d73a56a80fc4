"""Typed column: a column of anything as numbers, dates or words, with what is missing told apart.

Axes: R rows.
"""

import datetime as dt
import decimal
import math
import numbers as kinds_of_number
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from unimodal.errors import InputError
from unimodal.reading.delimited import numbers

__all__ = ["Column", "days", "typed_column"]

_SIGNS = r"(?:[$€£¥₹₽₩]|USD|EUR|GBP|JPY|CHF|INR|CNY|kr|zł|R\$)"
_AMOUNT = r"[-+]?[\d.,'’\s]*\d[.,]?"
_MONEY = re.compile(rf"(?P<minus>[-+]?)\s*(?P<front>{_SIGNS})?\s*(?P<number>{_AMOUNT})\s*(?P<back>{_SIGNS})?")
_CODE = re.compile(r"[+-]?0\d+")  # a postcode, an article number: its zeros in front mean something
_POINTS, _COMMAS = re.compile(r"[+-]?\d{1,3}(?:\.\d{3})+(?:,\d+)?"), re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_CLOCK = r"(?:[T ]+(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,]\d+)?)?)?(?:\s*([AaPp])\.?[Mm]\.?)?"
_DATE = re.compile(r"(\d{1,4})([./-])(\d{1,2})\2(\d{1,4})" + _CLOCK)
_LONGEST = 40  # characters of an amount
_EPOCH = dt.datetime(1970, 1, 1)


@dataclass(frozen=True, eq=False)
class Column:
    """One column of a table.

    Args:
        name: As the table calls it.
        kind: ``number``, ``date`` or ``word``.
        values: (R,) float64 of numbers, or of days since 1970-01-01 (UTC where a zone is given); NaN where missing.
            Empty for words.
        words: R words, None where missing. Empty for numbers and dates.
        unit: A sign that stood at the numbers and is in no value: ``%`` or a currency; else "".
    """

    name: str
    kind: str
    values: np.ndarray
    words: tuple[str | None, ...] = ()
    unit: str = ""

    def __len__(self) -> int:
        return len(self.words) if self.kind == "word" else len(self.values)


def typed_column(name: str, cells: Sequence[Any] | np.ndarray, source: str, *, decimal_comma: bool = False) -> Column:
    """What a column holds, judged by all of its cells together.

    Words are numbers if every one of them is: also with a percent sign (12 % is 12) or a currency, with separators
    between thousands (1,234.50; 1.234,50; 1 234; 1'234) or in an accountant's brackets. They are no numbers if one has
    zeros in front (00123). They are dates if every one of them is: 2024-01-31, 31.1.2024, 1/31/2024, with or without a
    time; where days and months cannot be told apart the month comes first, or the day if ``decimal_comma``. Booleans,
    also written True or FALSE, are the words true and false. All else is words, and so is a column without any value.

    Raises:
        InputError: a number is infinite, or the cells hold bytes, lists or other things that are no values.
    """
    array = cells if isinstance(cells, np.ndarray) else None
    if array is not None and array.dtype.kind in "iuf":
        return Column(name, "number", _finite(array.astype(np.float64), name, source))
    if array is not None and array.dtype.kind == "M":
        return Column(name, "date", days(array))
    values = [_plain(cell) for cell in (array.tolist() if array is not None else cells)]
    present = [value for value in values if value is not None]
    if odd := [value for value in present if not isinstance(value, bool | float | str | dt.datetime)]:
        raise InputError(source, f"the column {name!r} holds a {type(odd[0]).__name__}", "a cell is a number or a word")
    if present and all(type(value) is float for value in present):
        found = np.array([math.nan if value is None else value for value in values], np.float64)
        return Column(name, "number", _finite(found, name, source))
    if present and all(isinstance(value, dt.datetime) for value in present):
        return Column(name, "date", np.array([math.nan if value is None else _days_of(value) for value in values]))
    words = [None if value is None else _word(value) for value in values]
    return _of_words(name, words, source, decimal_comma)


def days(moments: np.ndarray) -> np.ndarray:
    """datetime64 as days since 1970-01-01, NaN for what is no time."""
    micro = moments.astype("datetime64[us]")
    return np.where(np.isnat(micro), np.nan, micro.astype(np.int64) / 86_400e6)


def _plain(cell: Any) -> Any:
    """None, a boolean, a float, a word or a moment without a zone; anything else as it is."""
    if cell is None or type(cell).__name__ in ("NAType", "NaTType", "MaskedConstant"):
        return None
    if isinstance(cell, bool | np.bool_):
        return bool(cell)
    if isinstance(cell, str):
        return cell.strip()
    if isinstance(cell, np.datetime64):
        return None if np.isnat(cell) else cell.astype("datetime64[us]").item()
    if isinstance(cell, kinds_of_number.Real | decimal.Decimal):
        try:
            value = float(cell)
        except (OverflowError, ValueError):
            value = math.inf
        return None if math.isnan(value) else value
    if isinstance(cell, dt.timedelta | np.timedelta64):
        return float(cell / np.timedelta64(1, "s")) if isinstance(cell, np.timedelta64) else cell.total_seconds()
    if isinstance(cell, dt.date) and not isinstance(cell, dt.datetime):
        return dt.datetime(cell.year, cell.month, cell.day)
    if isinstance(cell, dt.datetime) and cell.tzinfo is not None:
        return cell.astimezone(dt.UTC).replace(tzinfo=None)
    if isinstance(cell, dt.time):
        return cell.isoformat()
    return cell


def _word(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return value if isinstance(value, str) else str(value)


def _of_words(name: str, words: list[str | None], source: str, decimal_comma: bool) -> Column:
    distinct = {word for word in words if word is not None}
    absent = {word for word in distinct if (n := numbers([word])) is not None and math.isnan(n[0])}
    given = sorted(distinct - absent)
    found: Sequence[float] | np.ndarray | None = None
    kind, unit = "word", ""
    if given and not any(_CODE.fullmatch(word) for word in given):
        found, kind = numbers(given, decimal_comma=decimal_comma), "number"
        unit = "%" if any(word.endswith("%") for word in given) else ""
        pointed = [word for word in given if "." in word]
        grouped = decimal_comma and bool(pointed) and all(_POINTS.fullmatch(word) for word in pointed)
        if found is None or grouped:
            found, unit = _amounts(given, decimal_comma)
        if found is None:
            found, kind = _dates(given, decimal_comma), "date"
    if found is None:
        if {word.lower() for word in given} <= {"true", "false"}:
            words = [None if word is None else word.lower() for word in words]
        return Column(name, "word", np.empty(0), tuple(None if word in absent else word for word in words))
    of = dict(zip(given, found, strict=True))
    values = np.array([math.nan if word is None else of.get(word, math.nan) for word in words], np.float64)
    return Column(name, kind, _finite(values, name, source), (), unit if kind == "number" else "")


def _amounts(words: list[str], decimal_comma: bool) -> tuple[list[float] | None, str]:
    """Numbers with currencies, separators between thousands, percent signs and brackets, and their sign."""
    if max(map(len, words)) > _LONGEST:
        return None, ""
    found, unit = [], ""
    for word in words:
        bracketed = word.startswith("(") and word.endswith(")")
        plain = word[1:-1] if bracketed else word
        percent = plain.endswith("%")
        match = _MONEY.fullmatch(plain.removesuffix("%").replace("\u2212", "-").replace("\u00a0", " ").strip())
        if match is None:
            return None, ""
        number = re.sub(r"['’\s]", "", match["number"])
        if _COMMAS.fullmatch(number) and (not decimal_comma or "." in number or number.count(",") > 1):
            number = number.replace(",", "")
        elif _POINTS.fullmatch(number) and (decimal_comma or "," in number or number.count(".") > 1):
            number = number.replace(".", "").replace(",", ".")
        value = numbers([match["minus"] + number], decimal_comma=True)
        if value is None:
            return None, ""
        unit = unit or match["front"] or match["back"] or ("%" if percent else "")
        found.append(-float(value[0]) if bracketed else float(value[0]))
    return found, unit


def _dates(words: list[str], day_first: bool) -> list[float] | None:
    matches = [_DATE.fullmatch(word.removesuffix("Z").strip()) for word in words]
    if all(matches):
        parts = [(int(m[1]), m[2], int(m[3]), int(m[4])) for m in matches if m]
        short = [(a, b) for a, sign, b, _ in parts if a < 32 and sign != "."]
        later = any(a > 12 for a, _ in short) or (day_first and not any(b > 12 for _, b in short))
        try:
            return [_moment(m, later) for m in matches if m]
        except ValueError:
            return None
    if min(map(len, words)) < 8:
        return None
    try:
        return [_days_of(_plain(dt.datetime.fromisoformat(word))) for word in words]
    except ValueError:
        return None


def _moment(match: re.Match[str], day_first: bool) -> float:
    a, sign, b, c = int(match[1]), match[2], int(match[3]), int(match[4])
    if len(match[1]) == 4:
        year, month, day = a, b, c
    else:
        day, month = (a, b) if day_first or sign == "." else (b, a)
        year = c if len(match[4]) == 4 else c + (2000 if c < 70 else 1900)
    hour = int(match[5] or 0)
    if match[8]:
        hour = hour % 12 + (12 if match[8] in "Pp" else 0)
    return _days_of(dt.datetime(year, month, day, hour, int(match[6] or 0), int(match[7] or 0)))


def _days_of(moment: dt.datetime) -> float:
    return (moment - _EPOCH).total_seconds() / 86400


def _finite(values: np.ndarray, name: str, source: str) -> np.ndarray:
    if np.isinf(values).any():
        row = int(np.flatnonzero(np.isinf(values))[0]) + 1
        raise InputError(source, f"the column {name!r} is infinite in row {row}", "leave such a cell empty")
    return values
