"""Forecast score: errors of forecasts in units of each column, or how often an interval holds the value."""

from typing import Any

import numpy as np

__all__ = ["ForecastScore"]


class ForecastScore:
    """The mean over windows, steps and columns of a squared or absolute error, or the share within an interval.

    Args:
        figure: ``mse``, ``mae`` or ``coverage``.
        steps: Steps that count; windows with fewer known ones count nowhere. For ``coverage`` all that are known count.
        level: Of the interval, for ``coverage``.
    """

    def __init__(self, figure: str, *, steps: int = 1, level: float = 0.0) -> None:
        if figure not in ("mse", "mae", "coverage"):
            raise ValueError(f"figure must be 'mse', 'mae' or 'coverage', not {figure!r}")
        self.figure, self.steps, self.level = figure, steps, level
        self.total, self.count = 0.0, 0

    def update(self, prediction: Any, target: Any) -> None:
        truth = target.values[: len(prediction.forecast)]
        if self.figure == "coverage":
            lower, upper = (bound[: len(truth)] for bound in prediction.intervals[self.level])
            known = np.isfinite(truth)
            self.total += float(((truth >= lower) & (truth <= upper) & known).sum())
            self.count += int(known.sum())
            return
        if len(truth) < self.steps:
            return
        gap = (prediction.forecast[: self.steps] - truth[: self.steps]) / target.unit
        gap = gap[np.isfinite(gap)]
        self.total += float((gap**2 if self.figure == "mse" else np.abs(gap)).sum())
        self.count += gap.size

    def merge(self, other: "ForecastScore") -> None:
        self.total, self.count = self.total + other.total, self.count + other.count

    def compute(self) -> float:
        return self.total / self.count if self.count else float("nan")
