"""Steady: measurements at any times as values at a fixed rate.

Axes: L measurements, C channels, M steps.
"""

import numpy as np

__all__ = ["steady"]


def steady(times_s: np.ndarray, values: np.ndarray, rate_hz: float, *, last: int) -> tuple[np.ndarray, int]:
    """The lines between measurements, read at steps of 1 / rate_hz from the first one.

    Where measurements are closer than the steps, each step is the mean of the lines over the time that is nearest to
    it, so that what is faster than the rate does not fold into it. Missing values lie on the line between their
    neighbours. Measurements that stand at the steps already are given back as they are.

    Args:
        times_s: Rising, from 0.
        values: NaN where missing; every channel has one value at least.
        last: Most steps; only so many at the end are computed.

    Shapes:
        times_s: (L,);  values: (L, C);  returns (M, C) float64, and the number of steps with those left out.
    """
    steps = int(times_s[-1] * rate_hz * (1 + 1e-6) + 1e-3) + 1
    at = np.arange(max(steps - last, 0), steps) / rate_hz
    known = ~np.isnan(values)
    lines = [np.interp(times_s, times_s[k], v[k]) for k, v in zip(known.T, values.T, strict=True)]
    if len(times_s) == steps and np.abs(times_s - np.arange(steps) / rate_hz).max() < 1e-3 / rate_hz:
        return np.stack(lines, 1)[-len(at) :], steps
    if (len(times_s) - 1) / times_s[-1] <= 1.01 * rate_hz:
        return np.stack([np.interp(at, times_s, line) for line in lines], 1), steps
    return np.stack([_means(times_s, line, at, 0.5 / rate_hz) for line in lines], 1), steps


def _means(times: np.ndarray, line: np.ndarray, at: np.ndarray, half: float) -> np.ndarray:
    """The mean of the line over at - half ... at + half, as far as it was measured."""
    areas = np.concatenate([[0.0], np.cumsum(np.diff(times) * (line[1:] + line[:-1]) / 2)])

    def area(moment: np.ndarray) -> np.ndarray:
        left = np.clip(np.searchsorted(times, moment, "right") - 1, 0, len(times) - 2)
        within = moment - times[left]
        slope = (line[left + 1] - line[left]) / (times[left + 1] - times[left])
        return areas[left] + within * (line[left] + slope * within / 2)

    low, high = np.clip(at - half, times[0], times[-1]), np.clip(at + half, times[0], times[-1])
    return (area(high) - area(low)) / np.maximum(high - low, 1e-12)
