"""Stamps: the words or numbers of a time column as seconds since the first one, and the moment that this one is.

ISO 8601, day.month.year, month/day/year, month names, years with a month or a quarter, times of a day, epochs in
seconds to nanoseconds, spreadsheet day numbers, plain seconds.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

__all__ = ["Stamps", "StampsError", "named_for_time", "stamps_of_numbers", "stamps_of_words"]

_CLOCK = (
    r"(?:[T\s,]+(?P<H>\d{1,2})[:.](?P<M>\d{2})(?:[:.](?P<S>\d{2})(?:[.,](?P<f>\d{1,9}))?)?"
    r"\s*(?P<half>[ap]\.?m\.?)?)?\s*(?P<zone>z|utc|gmt|[+-]\d{2}:?\d{2})?$"
)
_YEAR_FIRST = re.compile(r"(?P<y>\d{4})[-/.](?P<m>\d{1,2})(?:[-/.](?P<d>\d{1,2}))?" + _CLOCK, re.I)
_YEAR_LAST = re.compile(r"(?P<a>\d{1,2})(?P<sign>[./-])(?P<b>\d{1,2})(?P=sign)(?P<y>\d{4}|\d{2})" + _CLOCK, re.I)
_NAMED = re.compile(r"(?:(?P<d>\d{1,2})[-\s.]+)?(?P<n>[a-z]{3,9})[-\s.,]+(?P<y>\d{4})" + _CLOCK, re.I)
_NAMED_FIRST = re.compile(r"(?P<n>[a-z]{3,9})\s+(?P<d>\d{1,2}),?\s+(?P<y>\d{4})" + _CLOCK, re.I)
_QUARTER = re.compile(r"(?P<y>\d{4})[-\s]?Q(?P<q>[1-4])$", re.I)
_OF_DAY = re.compile(r"(?P<H>\d{1,2}):(?P<M>\d{2})(?::(?P<S>\d{2})(?:[.,](?P<f>\d{1,9}))?)?$")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_UNITS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9, "min": 60.0, "h": 3600.0, "d": 86400.0}
_UNITS |= {"sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0, "millis": 1e-3, "milliseconds": 1e-3}
_UNITS |= {"microseconds": 1e-6, "nanoseconds": 1e-9, "minutes": 60.0, "hours": 3600.0, "days": 86400.0}
_LONGEST = 3e11  # s, which is all years that a date can have
_CERTAIN = frozenset(("time", "times", "timestamp", "timestamps", "date", "datetime", "ts", "epoch", "stamp"))
_LIKELY = _CERTAIN | frozenset(("t", "unixtime", "elapsed", "year", "years", "seconds", "millis", "milliseconds"))


class StampsError(ValueError):
    """A column of stamps that cannot be used; the message is a clause about the column."""


@dataclass(frozen=True, eq=False)
class Stamps:
    """Times of the rows.

    Args:
        times_s: (L,) float64, seconds since the first row.
        start: Moment of the first row (UTC if the file says a zone), or None if only differences are known.
        note: What had to be decided, for the record; may be empty.
    """

    times_s: np.ndarray
    start: datetime | None
    note: str = ""


def named_for_time(name: str) -> float:
    """How surely a header names a time column: 1 (``timestamp``), 0.5 (``t``, ``elapsed``, ``time_ms``) or 0."""
    words = re.findall(r"[a-zµ]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    if "".join(words) in _CERTAIN:
        return 1.0
    if words and (words[0] in _LIKELY or words[-1] in _CERTAIN) and len(words) <= 6:
        return 1.0 if words[0] in _CERTAIN and all(word in _UNITS for word in words[1:]) else 0.5
    return 0.0


def stamps_of_words(words: Sequence[str], *, day_first: bool | None = None) -> Stamps | None:
    """Stamps, or None if the column is none of times.

    Args:
        day_first: Whether 03/04/2020 is the third of April; None lets the column decide.

    Raises:
        StampsError: most words are times and one is not, or days and months can be told in two ways.
    """
    probe = [word for word in words[:20] if word]
    if not probe:
        return None
    if all(_OF_DAY.match(word) for word in probe):
        return _of_day(words)
    if sum(_moments(word) is not None for word in probe) < 0.8 * len(probe):
        return None
    try:
        return _since_first([_plain(datetime.fromisoformat(word)) for word in words], words)
    except ValueError:
        pass
    read = []
    for row, word in enumerate(words):
        either = _moments(word)
        if either is None:
            raise StampsError(f"has {word!r} in row {row + 1}, which is no time")
        read.append(either)
    days, months = (_since_first([either[i] for either in read], words) for i in (0, 1))
    if days.start == months.start and np.array_equal(days.times_s, months.times_s):
        return days
    order = _order(days, months, words, day_first)
    if order is None:
        return Stamps(days.times_s, None, "the day of the first row can be told in two ways, so it is left open")
    return days if order else months


def stamps_of_numbers(numbers: np.ndarray, name: str) -> Stamps:
    """Stamps from numbers; the header or their size says the unit.

    Raises:
        StampsError: a number is missing.
    """
    if not np.isfinite(numbers).all():
        raise StampsError(f"has no time in row {int(np.argmin(np.isfinite(numbers))) + 1}")
    whole = bool((numbers == np.round(numbers)).all())
    low, high = float(numbers.min()), float(numbers.max())
    words = re.findall(r"[a-zµ]+", name.lower())
    if whole and low >= 19000101 and high <= 21001231:
        try:
            return _since_first([datetime.strptime(str(int(n)), "%Y%m%d") for n in numbers], list(numbers))
        except ValueError:
            pass
    if whole and ("year" in words or "date" in words) and low >= 1500 and high <= 2500:
        return _since_first([datetime(int(n), 1, 1) for n in numbers], list(numbers))
    if any("date" in word for word in words) and low >= 20_000 and high <= 80_000:
        start = datetime(1899, 12, 30) + timedelta(days=round(float(numbers[0]) * 86400) / 86400)
        return Stamps((numbers - numbers[0]) * 86400, start, "times were a spreadsheet's day numbers")
    told = [_UNITS[word] for word in words if word in _UNITS]
    sizes = ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3))
    unit = told[-1] if told else next((unit for size, unit in sizes if abs(high) >= size), 1.0)
    if np.abs(numbers - numbers[0]).max() * unit > _LONGEST:
        raise StampsError(f"spans {high - low:.3g} x {unit:g} s, which is no time")
    first, epoch = numbers[0], 3e8 <= float(numbers[0]) * unit <= 5e9
    start = datetime.fromtimestamp(float(first) * unit, UTC) if epoch else None
    note = "" if told or epoch else "times have no unit and were taken as seconds"
    return Stamps((numbers - first) * unit, start, note)


def _moments(word: str) -> tuple[datetime, datetime] | None:
    """A word as a moment with the day first, and with the month first (the same one if the word says which is which).

    An order that the calendar does not have is replaced by the other one.
    """
    if len(word) >= 8 and not word.isdigit():
        try:
            moment = _plain(datetime.fromisoformat(word))
            return moment, moment
        except ValueError:
            pass
    if found := _YEAR_LAST.match(word):
        year = int(found["y"]) + (2000 if len(found["y"]) == 2 else 0)
        a, b = int(found["a"]), int(found["b"])
        first, second = _moment(found, year, b, a), _moment(found, year, a, b)
        if found["sign"] == ".":
            second = first  # points are written with the day first everywhere
        if first is None and second is None:
            return None
        return first or second, second or first  # pyright: ignore[reportReturnType]
    moment = None
    if found := _YEAR_FIRST.match(word):
        moment = _moment(found, int(found["y"]), int(found["m"]), int(found["d"] or 1))
    elif found := _QUARTER.match(word):
        moment = datetime(int(found["y"]), 3 * int(found["q"]) - 2, 1)
    elif (found := _NAMED.match(word) or _NAMED_FIRST.match(word)) and found["n"].lower()[:3] in _MONTHS:
        moment = _moment(found, int(found["y"]), _MONTHS.index(found["n"].lower()[:3]) + 1, int(found["d"] or 1))
    return None if moment is None else (moment, moment)


def _moment(found: re.Match[str], year: int, month: int, day: int) -> datetime | None:
    hour = int(found["H"] or 0)
    if found["half"]:
        hour = hour % 12 + (12 if found["half"][0] in "pP" else 0)
    micro = int((found["f"] or "0").ljust(6, "0")[:6])
    try:
        moment = datetime(year, month, day, hour, int(found["M"] or 0), int(found["S"] or 0), micro)
    except ValueError:
        return None
    zone = (found["zone"] or "").lower()
    if not zone:
        return moment
    moment = moment.replace(tzinfo=UTC)
    if zone[0] not in "+-":
        return moment
    ahead = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
    try:
        return moment - ahead if zone[0] == "+" else moment + ahead
    except OverflowError:
        return None


def _plain(moment: datetime) -> datetime:
    try:
        return moment if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(str(error)) from None


def _order(days: Stamps, months: Stamps, words: Sequence[str], day_first: bool | None) -> bool | None:
    """Whether the day comes first in the whole column; None if it does not matter for the differences."""
    orders = {True: np.diff(days.times_s), False: np.diff(months.times_s)}
    fits = [first for first in orders if all(_fits(word, first) for word in words)]
    if len(fits) == 1:
        return fits[0]
    if day_first is not None:
        return day_first
    if np.array_equal(orders[True], orders[False]):
        return None
    rising = [first for first, steps in orders.items() if (steps > 0).all()]
    even = [first for first in orders if _even(days if first else months)]
    for kept in (rising, even):
        if len(kept) == 1:
            return kept[0]
    raise StampsError(f"has {words[0]!r}, which may be two different days; write times as yyyy-mm-dd")


def _even(stamps: Stamps) -> bool:
    """Whether all steps are one step, or whole months."""
    if not np.ptp(np.diff(stamps.times_s)) or stamps.start is None:
        return True
    start = stamps.start.replace(tzinfo=None)
    return len({(start + timedelta(seconds=float(s))).day for s in stamps.times_s}) == 1


def _fits(word: str, day_first: bool) -> bool:
    found = _YEAR_LAST.match(word)
    return found is None or int(found["b" if day_first else "a"]) <= 12


def _since_first(moments: list[datetime], words: Sequence[object]) -> Stamps:
    first = moments[0]
    try:
        return Stamps(np.array([(moment - first).total_seconds() for moment in moments]), first)
    except TypeError:
        raise StampsError(f"has times with and without a zone (the first is {words[0]!r})") from None


def _of_day(words: Sequence[str]) -> Stamps:
    seconds = np.empty(len(words))
    for row, word in enumerate(words):
        found = _OF_DAY.match(word)
        if found is None:
            raise StampsError(f"has {word!r} in row {row + 1}, which is no time of a day")
        whole = int(found["H"]) * 3600 + int(found["M"]) * 60 + int(found["S"] or 0)
        seconds[row] = whole + float(f"0.{found['f'] or 0}")
    midnights = np.concatenate([[0], np.cumsum(np.diff(seconds) < -43200)])
    seconds = seconds + 86400 * midnights
    return Stamps(seconds - seconds[0], None, "times are of a day without a date")
