"""Forecast prediction: the future of each column in the input's own units and moments, its files and its chart."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unimodal.tasks.parts.forecast_chart import forecast_chart

__all__ = ["ForecastPrediction"]

FEW = 3  # columns whose intervals stand in the table that a person sees


@dataclass(frozen=True, eq=False)
class ForecastPrediction:
    """What follows a series.

    Axes: L look-back, S steps, C columns.

    Args:
        source: The series' name.
        names: Of the columns.
        past: (L,) moments and (L, C) values as they were given, NaN where one was missing.
        future: (S,) moments and (S, C) forecast.
        intervals: Lower and upper bounds, (S, C) each, by the share of values that they should hold.
        horizons: Steps at which charts end, rising; the last one is S.
        dated: Whether moments are seconds since 1970; else seconds since the first row, or row numbers.
        moment: What the column of moments is called.
        notes: What was decided about the input, as sentences.
    """

    source: str
    names: tuple[str, ...]
    past: tuple[np.ndarray, np.ndarray]
    future: tuple[np.ndarray, np.ndarray]
    intervals: Mapping[float, tuple[np.ndarray, np.ndarray]]
    horizons: tuple[int, ...]
    dated: bool
    moment: str = "time"
    notes: tuple[str, ...] = field(default=())

    @property
    def forecast(self) -> np.ndarray:
        """(S, C), in the input's own units."""
        return self.future[1]

    def to_json(self) -> dict[str, Any]:
        """Columns, moments, the forecast of each column with the bounds of its intervals, and notes."""
        rows = []
        for i, name in enumerate(self.names):
            bounds = [
                {"level": level, "lower": low[:, i].tolist(), "upper": high[:, i].tolist()}
                for level, (low, high) in sorted(self.intervals.items())
            ]
            rows.append({"column": name, "values": self.forecast[:, i].tolist(), "intervals": bounds})
        times = self._words(self.future[0])
        return {"steps": len(times), "begin": times[0], "end": times[-1], "forecast": rows, "notes": list(self.notes)}

    def save(self, folder: Path, stem: str) -> list[Path]:
        """``stem.csv``: a row a step, the columns with their bounds; ``stem.HORIZON.png``: a chart for each horizon."""
        table = folder / f"{stem}.csv"
        with table.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            bounds = [(level, side) for level in sorted(self.intervals, reverse=True) for side in (0, 1)]
            header = [self.moment]
            for name in self.names:
                header += [name, *(f"{name} {('lower', 'upper')[side]} {level:.0%}" for level, side in bounds)]
            writer.writerow(header)
            for s, moment in enumerate(self._words(self.future[0])):
                row = [moment]
                for c in range(len(self.names)):
                    cells = [self.forecast[s, c], *(self.intervals[level][side][s, c] for level, side in bounds)]
                    row += [f"{value:.7g}" for value in cells]
                writer.writerow(row)
        charts = []
        for steps in self.horizons:
            charts.append(folder / f"{stem}.{steps}.png")
            self.chart(steps).save(charts[-1])
        return [table, *charts]

    def chart(self, steps: int | None = None) -> Any:
        """The picture of the look-back and the first ``steps`` steps (the shortest horizon by default)."""
        end = self.horizons[0] if steps is None else steps
        return forecast_chart(
            self.names,
            self.past,
            (self.future[0][:end], self.forecast[:end]),
            {level: (low[:end], high[:end]) for level, (low, high) in self.intervals.items()},
            title=f"{Path(self.source).name}: the next {end} step{'s' if end > 1 else ''}",
            dated=self.dated,
        )

    def render(self) -> dict[str, Any]:
        """The chart of the shortest horizon, its moments and the notes in words, and its rows.

        Rows have the bounds of the widest interval too, unless there are so many columns that nobody would find them.
        """
        words = self._words(self.future[0][: self.horizons[0]])
        columns = {}
        for c, name in enumerate(self.names):
            columns[name] = self.forecast[:, c]
            if self.intervals and len(self.names) <= FEW:
                level = max(self.intervals)
                for side, bound in zip(("lower", "upper"), self.intervals[level], strict=True):
                    columns[f"{name} {side} {level:.0%}"] = bound[:, c]
        rows = [
            {self.moment: moment, **{name: float(values[s]) for name, values in columns.items()}}
            for s, moment in enumerate(words)
        ]
        span = f"{len(words)} steps, from {words[0]} to {words[-1]}." if len(words) > 1 else f"One step: {words[0]}."
        notes = [note[:1].upper() + note[1:].rstrip(".") + "." for note in self.notes]
        return {"image": self.chart(), "text": "\n".join([span, *notes]), "table": rows}

    def _words(self, moments: Sequence[float] | np.ndarray) -> list[str]:
        """Moments as a person and a spreadsheet read them."""
        if not self.dated:
            return [f"{moment:g}" if abs(moment) < 1e6 else f"{moment:.0f}" for moment in moments]
        stamps = np.round(np.asarray(moments) * 1000).astype("int64").astype("datetime64[ms]")
        if (stamps == stamps.astype("datetime64[D]")).all():
            return [str(day) for day in stamps.astype("datetime64[D]")]
        whole = (stamps == stamps.astype("datetime64[s]")).all()
        return [str(moment).replace("T", " ") for moment in (stamps.astype("datetime64[s]") if whole else stamps)]
