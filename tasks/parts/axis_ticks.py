"""Axis ticks: round numbers and round moments for the axes of a chart, with their words."""

import math

import numpy as np

__all__ = ["number_ticks", "time_ticks"]

_SECOND_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
_DAYS, _MONTHS = (1, 2, 3, 7, 14), (1, 2, 3, 6)


def number_ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """Multiples of 1, 2 or 5 times a power of ten within [low, high], at most ``most``, each with its words."""
    if not high > low:
        return [(low, _number(low, 0.0))]
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    while (high - low) / step > most:
        step *= 2.5 if f"{step:e}"[0] == "2" else 2.0
    first = math.ceil(low / step - 1e-9)
    values = [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]
    return [(value, _number(value, step)) for value in values]


def time_ticks(begin: float, end: float, most: int, *, dated: bool = True) -> list[tuple[float, str]]:
    """Round moments within [begin, end], at most ``most``, each with its words.

    Args:
        dated: Whether the numbers are seconds since 1970; else they are plain numbers.
    """
    if not dated:
        return number_ticks(begin, end, most)
    span = end - begin
    for step in _SECOND_STEPS:
        if span / step <= most:
            return _clock(begin, end, step)
    for days in _DAYS:
        if span / (days * 86400) <= most:
            return _clock(begin, end, days * 86400)
    for months in _MONTHS:
        if span / (months * 30.44 * 86400) <= most:
            return _calendar(begin, end, months)
    step = 1.0
    while span / (step * 365.25 * 86400) > most:
        step *= 2.5 if f"{step:e}"[0] == "2" else 2.0
    return _calendar(begin, end, 12 * int(step))


def _clock(begin: float, end: float, step: int) -> list[tuple[float, str]]:
    ticks = []
    for k in range(math.ceil(begin / step), math.floor(end / step) + 1):
        moment = np.datetime64(k * step, "s").item()
        midnight = (k * step) % 86400 == 0
        hand = "%H:%M:%S" if step < 60 else "%H:%M"
        ticks.append((float(k * step), f"{moment.day} {moment:%b}" if midnight else f"{moment:{hand}}"))
    return ticks


def _calendar(begin: float, end: float, months: int) -> list[tuple[float, str]]:
    first = np.datetime64(math.floor(begin), "s").astype("datetime64[M]").astype(int)
    last = np.datetime64(math.floor(end), "s").astype("datetime64[M]").astype(int)
    ticks = []
    for month in range(-(-first // months) * months if months < 12 else first - (first + 1970 * 12) % months, last + 1,
                       months):  # fmt: skip
        moment = np.datetime64(month, "M")
        seconds = float(moment.astype("datetime64[s]").astype(np.int64))
        if begin <= seconds <= end:
            year = str(month // 12 + 1970)
            ticks.append((seconds, year if months >= 12 else f"{moment.item():%b} {year}"))
    return ticks


def _number(value: float, step: float) -> str:
    if value == 0:
        return "0"
    if max(abs(value), step) >= 1e7 or max(abs(value), step) < 1e-3:
        return f"{value:.3g}"
    decimals = max(0, -math.floor(math.log10(step))) if step else 3
    return f"{value:,.{min(decimals, 6)}f}"
