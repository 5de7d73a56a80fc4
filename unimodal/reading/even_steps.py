"""Even steps: the last steps of a series as a window of one length without gaps, and what was decided on the way.

Axes: R rows of the series, C columns, L steps of the window.
"""

from dataclasses import replace

import numpy as np
import torch

from unimodal.reading.even_grid import even_grid
from unimodal.reading.series import Series

__all__ = ["even_steps"]


def even_steps(series: Series, steps: int) -> Series:
    """The last ``steps`` steps on an even grid (see :func:`unimodal.reading.even_grid.even_grid`), every value there.

    Missing values are interpolated linearly between their neighbours and held at the ends, from the rows of the window
    alone, or, where a column has none there, from its last value before. A series that is shorter is held at its first
    values. The notes say so.

    Shapes:
        series.values: (R, C);  the window's: (L, C).
    """
    given, series = series, even_grid(series, steps)
    notes, rows = list(series.notes), len(series.values)
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
