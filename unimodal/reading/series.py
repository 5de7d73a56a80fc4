"""Series: measurements over time from files, arrays and tables, validated, with what the way back needs.

Missing values stay NaN, the time column is found by itself, and what is no channel is left out and said to be.
Axes: L time steps, C channels.
"""

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unimodal.errors import InputError
from unimodal.reading.delimited import numbers
from unimodal.reading.opening import source_name
from unimodal.reading.series_columns import NamedColumns, named_columns
from unimodal.reading.stamps import Stamps
from unimodal.reading.time_column import time_column

__all__ = ["Series", "SeriesRecord", "open_series"]

_INDEX = frozenset(("unnamed: 0", "index", "row", "row_id", "no", "no.", "nr", "nr.", "id", "#", ""))
_EVEN = 0.05  # of a step: how far a stamp of an even series may be from its place


@dataclass(frozen=True)
class SeriesRecord:
    """What was taken away from a series: levels, scales, times, and which part of it was read.

    Args:
        names: Of the channels.
        mean: Of each channel, in its own unit.
        scale: One unit of the standardised channel in its own unit.
        rows: Steps of the whole series.
        taken: (first, behind the last) step that was taken.
        start: ISO moment of the series' first step, or None if it has none.
        step_s: Seconds from step to step, None if irregular or not known.
        times_s: Seconds since the first step of the series at each step taken, if irregular; else None.
        time_column: Its name, or None.
        units: Of the channels, where they are known.
        notes: What else was left out or decided.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    rows: int = 0
    taken: tuple[int, int] = (0, 0)
    start: str | None = None
    step_s: float | None = None
    times_s: tuple[float, ...] | None = None
    time_column: str | None = None
    units: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()

    def standardise(self, values: Tensor) -> Tensor:
        """(values - mean) / scale; (..., C) in and out."""
        return (values - values.new_tensor(self.mean)) / values.new_tensor(self.scale)

    def restore(self, values: Tensor) -> Tensor:
        """Standardised values in the series' own units; (..., C) in and out."""
        return values * values.new_tensor(self.scale) + values.new_tensor(self.mean)

    def to_json(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in ((field, getattr(self, field)) for field in self.__dataclass_fields__)
        }

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> "SeriesRecord":
        """The record whose :meth:`to_json` was given."""
        held: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
        return cls(**held)


@dataclass(frozen=True, eq=False)
class Series:
    """Channels over time.

    Args:
        name: Of the source, for messages.
        values: (L, C) float64, NaN where one is missing.
        names: Of the channels.
        times_s: (L,) float64 seconds since the first step, rising; None if the source has no times.
        start: Moment of the first step, or None if only differences are known.
        step_s: Seconds from step to step; None if they differ or there are no times.
        time_column: Where the times stood.
        notes: What was left out or decided, for the record.
    """

    name: str
    values: Tensor
    names: tuple[str, ...]
    times_s: Tensor | None = None
    start: datetime | None = None
    step_s: float | None = None
    time_column: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def moments(self) -> np.ndarray | None:
        """(L,) datetime64 of each step (UTC if the source says a zone), or None."""
        if self.times_s is None or self.start is None:
            return None
        return np.datetime64(self.start.replace(tzinfo=None), "us") + _microseconds(self.times_s.numpy())

    def ahead(self, steps: int) -> np.ndarray | None:
        """(steps,) datetime64 behind the last one: whole months if the stamps are, else even or median steps."""
        moments = self.moments
        if moments is None:
            return None
        months = np.diff(moments.astype("datetime64[M]").astype(np.int64))
        within = moments - moments.astype("datetime64[M]")
        if len(months) and months[0] > 0 and not np.ptp(months) and not np.ptp(within.astype(np.int64)):
            count = np.arange(1, steps + 1) * months[0]
            return (moments[-1].astype("datetime64[M]") + count).astype("datetime64[us]") + within[-1]
        step = self.step_s or float(np.median(np.diff(self.times_s.numpy())))  # pyright: ignore[reportOptionalMemberAccess]
        return moments[-1] + _microseconds(np.arange(1, steps + 1) * step)

    def window(self, first: int, behind: int) -> "Series":
        """The steps first ... behind - 1, with their own start."""
        times, start = self.times_s, self.start
        if times is not None:
            start = None if start is None else start + timedelta(seconds=float(times[first]))
            times = times[first:behind] - times[first]
        return replace(self, values=self.values[first:behind], times_s=times, start=start)

    def record(self, mean: Any, scale: Any, *, first: int = 0, behind: int | None = None, **more: Any) -> SeriesRecord:
        """The record of steps first ... behind - 1, standardised by ``mean`` and ``scale`` (C numbers each)."""
        behind = len(self.values) if behind is None else behind
        uneven = self.times_s is not None and self.step_s is None
        rows, notes = len(self.values), more.pop("notes", self.notes)
        if behind - first < rows:
            notes = (*notes, f"steps {first + 1} to {behind} of {rows} were taken")
        return SeriesRecord(
            names=self.names,
            mean=tuple(float(v) for v in mean),
            scale=tuple(float(v) for v in scale),
            rows=rows,
            taken=(first, behind),
            start=None if self.start is None else self.start.isoformat(),
            step_s=self.step_s,
            times_s=tuple(self.times_s[first:behind].tolist()) if uneven else None,  # pyright: ignore[reportOptionalSubscript]
            time_column=self.time_column,
            notes=notes,
            **more,
        )


def open_series(source: Any, *, columns: Any = None) -> Series:
    """Read one series.

    Args:
        source: See :func:`unimodal.reading.series_columns.named_columns`.
        columns: Names of the channels, in the order wanted; None for every column of numbers.

    Raises:
        InputError: the source cannot be read, has no numbers, fewer than two rows, text among the numbers of a
            column, infinite values, or stamps that do not rise; the message names row and column.
    """
    name = source_name(source)
    table = named_columns(source)
    wanted = None if columns is None else tuple(str(column) for column in columns)
    for column in wanted or ():
        if column not in table.columns:
            raise InputError(name, f"has no column {column!r}", f"it has {', '.join(map(repr, table.columns))}")
    parsed = {key: _parsed(column, table.decimal_comma) for key, column in table.columns.items()}
    time, stamps, used = time_column(table, parsed, wanted, name)
    channels, notes = _channels(table, parsed, wanted, used, name)
    values = np.stack(list(channels.values()), 1)
    if stamps is not None:
        stamps, values, notes = _rising(stamps, values, notes, time, table, name)
    return Series(
        name,
        torch.from_numpy(values),
        tuple(channels),
        None if stamps is None else torch.from_numpy(stamps.times_s),
        None if stamps is None else stamps.start,
        None if stamps is None else _even(stamps),
        time,
        (*notes, *(() if stamps is None or not stamps.note else (stamps.note,))),
    )


def _parsed(column: np.ndarray | list[str], decimal_comma: bool) -> np.ndarray | None:
    """Numbers, moments as they are, or None for words."""
    if isinstance(column, np.ndarray):
        return column
    if not decimal_comma:
        try:
            found = np.array([float(word) if word else np.nan for word in column])
            return None if any("_" in word for word in column) else found
        except ValueError:
            pass
    found = numbers(column, decimal_comma=decimal_comma)
    if found is not None:
        return found
    group, point = (".", ",") if decimal_comma else (",", ".")  # 1,234.50 and 1.234,50
    grouped = re.compile(rf"[+-]?\d{{1,3}}(\{group}\d{{3}})+(\{point}\d*)?")
    plain = [word.replace(group, "") if grouped.fullmatch(word) else word for word in column]
    return numbers(plain, decimal_comma=decimal_comma) if plain != column else None


def _channels(
    table: NamedColumns,
    parsed: dict[str, np.ndarray | None],
    wanted: tuple[str, ...] | None,
    used: tuple[str, ...],
    name: str,
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    channels: dict[str, np.ndarray] = {}
    notes = [f"left out: {column}" for column in table.left_out]
    for key in wanted or table.columns:
        if key in used:
            continue
        numeric, given = parsed[key], table.columns[key]
        if numeric is None:
            _refuse_words(given, key, name, table.decimal_comma, asked=wanted is not None)
            notes.append(f"left out: {key} (text)")
        elif numeric.dtype.kind == "M":
            notes.append(f"left out: {key} (times)")
        elif wanted is None and table.headed and _is_index(numeric, key):
            notes.append(f"left out: {key or 'a column without a name'} (numbers of rows)")
        elif np.isnan(numeric).all() and wanted is None and isinstance(given, list) and len(table.columns) > 1:
            notes.append(f"left out: {key} (empty)")
        else:
            channels[key] = numeric
    if not channels:
        raise InputError(name, "has no column of numbers", "; ".join(notes))
    rows = len(next(iter(channels.values())))
    if rows < 2:
        raise InputError(name, f"has {rows} row; a series has at least 2")
    for key, values in channels.items():
        if np.isnan(values).all():
            raise InputError(name, f"the column {key!r} has no value", "leave it out")
        if np.isinf(values).any():
            row = int(np.argmax(np.isinf(values))) + 1
            raise InputError(name, f"the column {key!r} is infinite in row {row}", "leave missing values empty")
        if np.abs(values[~np.isnan(values)]).max() > 1e100:
            raise InputError(name, f"the column {key!r} has values beyond 1e100", "give it another unit")
    return channels, tuple(notes)


def _refuse_words(given: Any, key: str, name: str, decimal_comma: bool, *, asked: bool) -> None:
    """A column that is meant to be numbers and has a word in it."""
    bad = [numbers([word], decimal_comma=decimal_comma) is None for word in given]
    if asked or sum(bad) < 0.5 * len(bad):
        row = bad.index(True)
        raise InputError(name, f"the column {key!r} has {given[row]!r} in row {row + 1}, which is no number")


def _is_index(values: np.ndarray, key: str) -> bool:
    named = key.strip().lower() in _INDEX or key.startswith("column ")
    return named and len(values) > 1 and bool((np.diff(values) == 1).all())


def _rising(
    stamps: Stamps, values: np.ndarray, notes: tuple[str, ...], time: str | None, table: NamedColumns, name: str
) -> tuple[Stamps, np.ndarray, tuple[str, ...]]:
    """Steps in the order of time, or an error that names the row that is not."""
    steps = np.diff(stamps.times_s)
    if len(steps) and (steps < 0).all():
        times = stamps.times_s[::-1] - stamps.times_s[-1]
        start = None if stamps.start is None else stamps.start + timedelta(seconds=float(stamps.times_s[-1]))
        return Stamps(times, start, stamps.note), values[::-1].copy(), (*notes, "rows were newest first, now oldest")
    if (steps <= 0).any():
        row = int(np.argmax(steps <= 0))
        word = "the same as" if steps[row] == 0 else "before"
        cause = f"the time in row {row + 2} is {word} that of row {row + 1} (column {time!r})"
        raise InputError(name, cause, "give rows in the order of time, one for each")
    return stamps, values, notes


def _even(stamps: Stamps) -> float | None:
    """The step, if it is one; months, quarters and years have none."""
    times_s = stamps.times_s
    if stamps.start is not None and times_s[1] >= 27 * 86400 and len(set(np.diff(times_s))) > 1:
        return None
    step = float(times_s[-1]) / (len(times_s) - 1)
    return step if np.abs(times_s - step * np.arange(len(times_s))).max() <= _EVEN * step else None


def _microseconds(seconds: np.ndarray) -> np.ndarray:
    return np.round(seconds * 1e6).astype(np.int64).astype("timedelta64[us]")
