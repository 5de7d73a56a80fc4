"""Forecasting: what follows each column of a series, with intervals, from a linear map on the frozen encoder.

Source: Liu et al. 2023, arXiv:2310.06625 (iTransformer); intervals: see :mod:`unimodal.tasks.parts.forecast_module`.
Axes: C columns, S steps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from unimodal.metrics import Metric
from unimodal.model import Model
from unimodal.reading.series import Series, open_series
from unimodal.sample import Sample
from unimodal.tasks.parts.forecast_module import ForecastModule
from unimodal.tasks.parts.forecast_prediction import ForecastPrediction
from unimodal.tasks.parts.forecast_score import ForecastScore
from unimodal.tasks.parts.series_windows import Future, series_windows

__all__ = ["Forecasting"]

LONGEST = 96  # steps that are learned from a data set by default


class Forecasting:
    """What follows the rows of a table over time.

    Any table with columns of numbers, with or without a column of dates; all columns of numbers are forecast together,
    in their own units, and the dates go on. Missing values and uneven dates are interpolated, a short table is held at
    its first row; the notes of a prediction say so.

    Data sets: such a table, or a folder of them. Every row is a question about those that follow. The forecast is
    learned from the first 80 % of the rows, the intervals from its errors on the rest; errors are counted in standard
    deviations of the first 80 %. To measure, give a table that was not learned from.
    """

    name: ClassVar[str] = "forecasting"
    title: ClassVar[str] = "Forecasting"
    summary: ClassVar[str] = "What comes next in a table of numbers over time, and how sure that is."
    inputs: ClassVar[tuple[str, ...]] = ("variates",)
    outputs: ClassVar[tuple[str, ...]] = ("image", "text", "table")
    encoder: ClassVar[str] = "forecaster_ett"
    weights: ClassVar[str | None] = "forecasting_ett"

    def __init__(self, module: ForecastModule) -> None:
        self.module = module

    @staticmethod
    def build(
        encoder: Model,
        *,
        horizons: Sequence[int] = (LONGEST,),
        levels: Sequence[float] = (0.8, 0.95),
        units: Mapping[str, float] | None = None,
    ) -> ForecastModule:
        """A linear map to the longest of ``horizons`` on a frozen encoder of series, and intervals of ``levels``."""
        return ForecastModule(encoder, horizons=horizons, levels=levels, units=units or {})

    @staticmethod
    def options_from(data: Path) -> dict[str, Any]:
        """A horizon that the data set can teach: 96 steps, or a tenth of a shorter series."""
        if data.is_dir():
            return {}
        rows = len(open_series(data).values)
        return {"horizons": (max(1, min(LONGEST, rows // 10)),)}

    def read(self, source: Any) -> Sample:
        """The last window of a series; ``sample.original`` is the whole of it."""
        series = source if isinstance(source, Series) else open_series(source)
        return replace(self.module.tokenizer.read(series), original=series)

    def predict(self, samples: Sequence[Sample]) -> list[ForecastPrediction]:
        """The future of each series, in its own units and moments."""
        if not samples:
            return []
        with torch.inference_mode():
            forecasts = self.module(self._batch(samples))
        sides_QS = self.module.errors_at().detach().cpu().double().numpy()
        return [self._told(s, z.cpu().double().numpy(), sides_QS) for s, z in zip(samples, forecasts, strict=True)]

    def labelled(self, path: Path) -> Sequence[tuple[Any, Any]]:
        """(rows up to a place, rows behind it) pairs."""
        horizons, units = self.module.options["horizons"], self.module.options["units"]
        return series_windows(
            path, lookback=self.module.lookback, steps=horizons[-1], least=horizons[0], units=dict(units)
        )

    def loss(self, samples: Sequence[Sample], targets: Sequence[Future]) -> Tensor:
        """Squared error in units of the columns, each horizon as much as any other, and the quantiles' own loss."""
        forecasts = self.module(self._batch(samples))
        horizons = self.module.options["horizons"]
        steps = torch.arange(horizons[-1])
        weight_S = torch.stack([(steps < h) / h for h in horizons]).mean(0).to(forecasts[0])
        squared, known, held = [], [], []
        for z_CS, sample, future in zip(forecasts, samples, targets, strict=True):
            mean, scale = (torch.tensor(v, dtype=torch.float64)[:, None] for v in _scale(sample))
            truth_CS = torch.full(z_CS.shape, float("nan"), dtype=torch.float64)
            truth_CS[:, : len(future.values)] = torch.from_numpy(future.values).mT[:, : z_CS.shape[1]]
            error_CS = ((truth_CS - mean) / scale).to(z_CS) - z_CS
            in_units = scale / torch.from_numpy(future.unit)[:, None]
            learned = error_CS.isfinite() & (steps < future.learned).to(z_CS.device)
            squared.append((error_CS * in_units.to(z_CS)).where(learned, 0.0).square() * weight_S)
            known.append(learned * weight_S)
            held.append(error_CS.detach().where((steps >= future.learned).to(z_CS.device), float("nan")))
        total, count = (torch.stack([part.sum() for part in parts]).sum() for parts in (squared, known))
        return total / count.clamp_min(1e-6) + self.module.quantile_loss(torch.cat(held))

    def metrics(self) -> dict[str, Metric]:
        """Mean squared and absolute error up to each horizon, and how many values the intervals hold."""
        found: dict[str, Metric] = {}
        for steps in self.module.options["horizons"]:
            found |= {f"{figure}_{steps}": ForecastScore(figure, steps=steps) for figure in ("mse", "mae")}
        for level in self.module.options["levels"]:
            found[f"coverage_{100 * level:g}"] = ForecastScore("coverage", level=level)
        return found

    @staticmethod
    def examples() -> list[Path]:
        """Sample series that ship with the suite."""
        return sorted(Path(str(resources.files("unimodal") / "data" / "samples")).glob("series_*.csv"))

    def _told(self, sample: Sample, z_CS: np.ndarray, sides_QS: np.ndarray) -> ForecastPrediction:
        series, lookback, steps = sample.original, self.module.lookback, z_CS.shape[1]
        mean, scale = (np.array(v)[:, None] for v in _scale(sample))
        levels = self.module.options["levels"]
        intervals = {}
        for i, level in enumerate(reversed(levels)):
            low, high = (((z_CS + sides_QS[place]) * scale + mean).T for place in (i, -1 - i))
            intervals[level] = (low, high)
        past, future, dated, word = _moments(series, steps)
        return ForecastPrediction(
            source=sample.source,
            names=series.names,
            past=(past[-lookback:], series.values.numpy()[-lookback:]),
            future=(future, (z_CS * scale + mean).T),
            intervals=dict(sorted(intervals.items())),
            horizons=tuple(self.module.options["horizons"]),
            dated=dated,
            moment=word,
            notes=tuple(sample.record.notes),
        )

    def _batch(self, samples: Sequence[Sample]) -> Any:
        return self.module.tokenizer.collate(samples).to(self.module.quantiles.device)


def _scale(sample: Sample) -> tuple[Sequence[float], Sequence[float]]:
    return sample.record.mean, sample.record.scale


def _moments(series: Series, steps: int) -> tuple[np.ndarray, np.ndarray, bool, str]:
    """Past and future moments, whether they are dates, and what they are called."""
    moments, ahead = series.moments, series.ahead(steps)
    word = series.time_column or "time"
    if moments is not None and ahead is not None:
        past, future = (m.astype("datetime64[us]").astype(np.int64) / 1e6 for m in (moments, ahead))
        return past, future, True, word
    rows = len(series.values)
    if series.times_s is None:
        return np.arange(1.0, rows + 1), np.arange(rows + 1.0, rows + steps + 1), False, "row"
    times = series.times_s.numpy()
    step = series.step_s or float(np.median(np.diff(times)))
    return times, times[-1] + step * np.arange(1, steps + 1), False, f"{word} (s)"
