"""Time column: which column of a source of series holds the times, and what times they are.

A header that names time comes first, then a column whose words are times; a column of days and one of times of the day
count as one.
"""

import re
from datetime import datetime
from typing import Any

import numpy as np

from unimodal.errors import InputError
from unimodal.reading.series_columns import NamedColumns
from unimodal.reading.stamps import Stamps, StampsError, named_for_time, stamps_of_numbers, stamps_of_words

__all__ = ["time_column"]


def time_column(
    table: NamedColumns, parsed: dict[str, np.ndarray | None], wanted: tuple[str, ...] | None, name: str
) -> tuple[str | None, Stamps | None, tuple[str, ...]]:
    """The time column's name and stamps, and the columns that they took; nothing if there are no times.

    Args:
        table: The columns.
        parsed: Each one as numbers or moments, None for words.
        wanted: Columns that are channels in any case; None if nothing was said.
        name: Of the source, for messages.

    Raises:
        InputError: a column is one of times, and one of them is not or may be two.
    """
    # Headers that name time come first; among the others, those of words.
    order = sorted(
        table.columns, key=lambda key: (-named_for_time(key) if table.headed else 0, parsed[key] is not None)
    )
    for key in order:
        numeric, sure = parsed[key], named_for_time(key) if table.headed else 0.0
        if wanted is not None and key in wanted:
            continue
        try:
            if numeric is None:
                words: Any = table.columns[key]
                clock = _clock(table, parsed, key, order)
                if clock is not None:
                    times = [word.replace(".", ":") if word.count(".") == 2 else word for word in table.columns[clock]]
                    both = [f"{day} {time}" for day, time in zip(words, times, strict=True)]
                    stamps = stamps_of_words(both, day_first=table.decimal_comma or None)
                    if stamps is not None:
                        return f"{key} {clock}", stamps, (key, clock)
                stamps = stamps_of_words(words, day_first=table.decimal_comma or None)
            elif numeric.dtype.kind == "M":
                stamps = _of_moments(numeric)
            elif sure and (sure == 1 or (np.isfinite(numeric).all() and (np.diff(numeric) > 0).all())):
                stamps = stamps_of_numbers(numeric, key)
            else:
                continue
        except StampsError as error:
            raise InputError(name, f"the time column {key!r} {error}") from error
        if stamps is not None:
            return key, stamps, (key,)
    return None, None, ()


def _clock(table: NamedColumns, parsed: dict[str, Any], key: str, order: list[str]) -> str | None:
    """A column of times of the day beside a column of days."""
    words: Any = table.columns[key]
    if not re.search(r"\d", words[0]) or ":" in words[0]:
        return None
    for other in order:
        if other == key or not named_for_time(other) or parsed[other] is not None:
            continue
        if all(re.fullmatch(r"\d{1,2}[:.]\d{2}([:.]\d{2}([.,]\d+)?)?", word) for word in table.columns[other][:20]):
            return other
    return None


def _of_moments(moments: np.ndarray) -> Stamps:
    missing = np.isnat(moments)
    if missing.any():
        raise StampsError(f"has no time in row {int(np.argmax(missing)) + 1}")
    start = moments[0].astype("datetime64[us]").item()
    if not isinstance(start, datetime):
        raise StampsError("has years beyond 9999")
    return Stamps((moments - moments[0]) / np.timedelta64(1, "s"), start)
