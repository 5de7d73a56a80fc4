"""Even grid: a series at steps of one length, where its stamps are not."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import torch

from unimodal.reading.series import Series

__all__ = ["even_grid"]


def even_grid(series: Series, steps: int | None = None) -> Series:
    """The series itself if its stamps are even or whole months apart, else interpolated linearly at even steps.

    The step is the median one, and steps are counted back from the last row, so rows that were left out of an even
    series come back and everything else stays as it is.

    Args:
        steps: Most steps of the result, the last ones, where there is something to interpolate; None means all.
    """
    if _is_even(series):
        return series
    times = series.times_s.numpy()  # pyright: ignore[reportOptionalMemberAccess]
    step = float(np.median(np.diff(times)))
    whole = int((times[-1] - times[0]) / step + 1e-6) + 1
    count = min(whole, steps or whole, 10 * len(times))
    grid = times[-1] - step * np.arange(count)[::-1]
    columns = []
    for column in series.values.numpy().T:
        known = np.isfinite(column)
        columns.append(np.interp(grid, times[known], column[known]) if known.any() else np.full(count, np.nan))
    start = series.start
    if start is not None:
        start = start + timedelta(seconds=float(grid[0]))
    return replace(
        series,
        values=torch.from_numpy(np.stack(columns, 1)),
        times_s=torch.from_numpy(grid - grid[0]),
        start=start,
        step_s=step,
        notes=(*series.notes, f"steps are uneven and were interpolated to even ones of {_told(step)}"),
    )


def _is_even(series: Series) -> bool:
    """Whether each row is one step."""
    if series.times_s is None or series.step_s is not None or len(series.values) < 3:
        return True
    moments = series.moments
    if moments is None:
        return False
    months = np.diff(moments.astype("datetime64[M]").astype(np.int64))
    days = (moments - moments.astype("datetime64[M]")).astype("timedelta64[D]").astype(np.int64)
    return bool(months[0] > 0 and not np.ptp(months) and np.ptp(days) <= 3)  # ends of months differ by three days


def _told(seconds: float) -> str:
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds:.4g} s"
