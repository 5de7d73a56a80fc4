"""Series windows: each place of a series as a question, the rows up to it, and its answer, the rows behind it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unimodal.errors import InputError
from unimodal.reading.even_grid import even_grid
from unimodal.reading.series import Series, open_series

__all__ = ["Future", "series_windows", "training_rows"]

HELD, MOST = 0.2, 10_000
_SUFFIXES = (".csv", ".tsv", ".txt", ".gz", ".parquet", ".npy", ".npz")


@dataclass(frozen=True, eq=False)
class Future:
    """What came.

    Args:
        values: (S, C) in the series' own units, NaN where it is not known; fewer rows at the end of the series.
        unit: (C,) standard deviation of each column, in which errors are counted.
        learned: Rows of ``values`` that a forecast may learn from; behind them, errors are held out for intervals.
    """

    values: np.ndarray
    unit: np.ndarray
    learned: int


def series_windows(
    path: Path, *, lookback: int, steps: int, least: int, units: dict[str, float]
) -> list[tuple[Series, Future]]:
    """A pair for each row of each series at ``path`` that has ``least`` rows behind it, evenly thinned to 10,000.

    Args:
        path: A file, or a folder of files, one series each.
        lookback: Rows that a question has at least, or half of a shorter series.
        steps: Most rows S of an answer.
        least: Fewest rows of an answer.
        units: Standard deviations by column; a column that has none there has its own over the series' first 80 %.

    Raises:
        InputError: there is no series, one cannot be read, or none is long enough.
    """
    pairs: list[tuple[Series, Future]] = []
    for file in _files(path):
        series = even_grid(open_series(file))
        values, rows, learned = series.values.numpy(), len(series.values), training_rows(len(series.values))
        own = _spread(values[:learned])
        unit = np.array([units.get(name) or own[i] for i, name in enumerate(series.names)])
        for end in range(min(lookback, rows // 2), rows - least + 1):
            future = values[end : end + steps]
            pairs.append((series.window(0, end), Future(future, unit, min(max(0, learned - end), len(future)))))
    if not pairs:
        raise InputError(str(path), f"is too short to learn or measure {least} steps", "give longer series")
    if len(pairs) > MOST:
        pairs = [pairs[round(i)] for i in np.linspace(0, len(pairs) - 1, MOST)]
    return pairs


def training_rows(rows: int) -> int:
    """How many of a series' rows are learned from; the errors on the others become the intervals."""
    return rows - max(1, round(HELD * rows))


def _files(path: Path) -> Sequence[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(file for file in path.iterdir() if file.name.lower().endswith(_SUFFIXES))
    if not found:
        raise InputError(str(path), "has no series", f"give files with the endings {', '.join(_SUFFIXES)}")
    return found


def _spread(values_RC: np.ndarray) -> np.ndarray:
    """Standard deviations (C,) without what is missing; 1 for a constant column."""
    known = np.isfinite(values_RC)
    count = np.maximum(known.sum(0), 1)
    level = np.where(known, values_RC, 0.0).sum(0) / count
    spread = np.sqrt((np.where(known, values_RC - level, 0.0) ** 2).sum(0) / count)
    return np.where(spread > 1e-9 * np.abs(level), np.where(spread > 0, spread, 1.0), 1.0)
