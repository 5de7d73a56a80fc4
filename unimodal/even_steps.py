"""Even steps: the last steps of a series as a window of one length without gaps, and what was decided on the way.

Axes: R rows of the series, C columns, L steps of the window.
"""

from dataclasses import replace

import numpy as np
import torch

from unimodal.series import Series

__all__ = ["even_steps"]


def even_steps(series: Series, steps: int) -> Series:
    """The last ``steps`` steps, every value there.

    Stamps that are even, or whole months apart, are taken row by row; otherwise values are interpolated linearly at
    steps of the median length, back from the last row, which also fills rows that were left out. Missing values are
    interpolated linearly between their neighbours and held at the ends, from the rows of the window alone, or, where a
    column has none there, from its last value before. A series that is shorter is held at its first values.

    Shapes:
        series.values: (R, C);  the window's: (L, C).
    """
    notes, given = list(series.notes), series
    if not _is_even(series):
        series = _resampled(series, steps)
        notes.append(f"steps are uneven and were interpolated to even ones of {_told(series.step_s)}")
    rows = len(series.values)
    window = series.window(max(0, rows - steps), rows)
    values = window.values.numpy().copy()
    missing = np.isnan(values)
    for c in np.flatnonzero(missing.any(0)):
        known = np.flatnonzero(~missing[:, c])
        if len(known):
            values[:, c] = np.interp(np.arange(len(values)), known, values[known, c])
        else:
            before = given.values[:, c].numpy()
            before = before[np.isfinite(before)]
            values[:, c] = before[-1] if len(before) else 0.0
            notes.append(f"{series.names[c]} has no value in the last {len(values)} rows; its last one before is held")
    if missing.any():
        share = f"{int(missing.sum())} of {missing.size}"
        notes.append(f"{share} values of the look-back were missing and are interpolated")
    if rows < steps:
        values = np.concatenate([np.repeat(values[:1], steps - rows, 0), values])
        notes.append(f"{rows} rows are fewer than the look-back of {steps}; the first one is held")
    return replace(window, values=torch.from_numpy(values), notes=tuple(notes))


def _is_even(series: Series) -> bool:
    """Whether each row is one step."""
    if series.times_s is None or series.step_s is not None or len(series.values) < 3:
        return True
    moments = series.moments
    if moments is None:
        return False
    months = np.diff(moments.astype("datetime64[M]").astype(np.int64))
    within = moments - moments.astype("datetime64[M]")
    by_days = np.ptp(within.astype("timedelta64[D]").astype(np.int64))  # month ends differ by up to three days
    return bool(months[0] > 0 and not np.ptp(months) and by_days <= 3)


def _resampled(series: Series, steps: int) -> Series:
    times = series.times_s.numpy()  # pyright: ignore[reportOptionalMemberAccess]
    step = float(np.median(np.diff(times)))
    count = min(steps, int((times[-1] - times[0]) / step + 1e-6) + 1)
    grid = times[-1] - step * np.arange(count)[::-1]
    columns = []
    for column in series.values.numpy().T:
        known = np.isfinite(column)
        columns.append(np.interp(grid, times[known], column[known]) if known.any() else np.full(count, np.nan))
    last = series.window(len(times) - 1, len(times))
    moment = last.start
    if moment is not None:
        from datetime import timedelta

        moment = moment - timedelta(seconds=step * (count - 1))
    values = torch.from_numpy(np.stack(columns, 1))
    return replace(series, values=values, times_s=torch.from_numpy(grid - grid[0]), start=moment, step_s=step)


def _told(seconds: float | None) -> str:
    seconds = seconds or 0.0
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= size:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds:.4g} s"
