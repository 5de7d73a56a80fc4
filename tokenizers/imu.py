"""IMU: recordings of accelerometers, gyroscopes and magnetometers as tokens of short stretches of each sensor.

Source: Zhang et al. 2023, arXiv:2307.10802 (Meta-Transformer), sec. 3.2 and its code for time series and IMU: a
circular convolution of width 3 over time without bias (with ``patch=1``; there over all channels at once).
Axes: B recordings, S sensors of three axes, L steps, P steps of a token, T = L / P, N = S T tokens, D width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import pyarrow.parquet as pq
import torch
import torch.nn as nn
from torch import Tensor

from unimodal.cells import projected_from, tokens_of_cells
from unimodal.collation import as_their_tokens, collated, in_one
from unimodal.errors import InputError
from unimodal.reading.inertial import KINDS, UNITS, Triad, triads_of, unit_of
from unimodal.reading.series import Series, SeriesRecord, open_series
from unimodal.reading.series_claim import opened_head
from unimodal.reading.steady import steady
from unimodal.sample import Batch, Sample
from unimodal.tokens import Tokens

__all__ = ["IMU"]

SIZES = (9.80665, 1.0, 50.0)  # one gravity in m/s2, 1 rad/s, about the Earth's field in uT


class IMU(nn.Module):
    """x_st = W_- v_s(t-1) + W_0 v_st + W_+ v_s(t+1) + e_kind(s), v_st the 3 P numbers of sensor s in stretch t.

    Time is a circle, so turning v by whole stretches turns x. One map serves every sensor, and a learned vector says
    which kind it is; so 3, 6 or 9 axes, or several sensors of a kind, are read by the same weights. Tokens lie on the
    lattice (sensor, stretch).

    Values are in gravities, rad/s and 50 uT in front of W, whatever the units of the file; level and size are kept,
    as gravity tells what is up.

    Args:
        dim: Width D.
        rate_hz: Steps a second; recordings at another rate, or at uneven times, are brought to it (see
            :func:`unimodal.reading.steady.steady`).
        patch: P in steps.
        limit: Most tokens of a recording; of longer ones the last part is read, and the record says which.
        source_rate_hz: Rate of sources without times; None means ``rate_hz``, and the record says so.
        units: Units of the kinds where headers do not say them, a key of :data:`unimodal.reading.inertial.UNITS` each;
            None or an absent kind means that the sizes of the values decide, and the record says so.

    Shapes:
        forward: (B, S, 3, L) or B times (S, 3, L);  returns (B, N, D) with side.grid, or packed with side.grids.

    Raises:
        ValueError: a rate, ``patch`` or ``limit`` is not positive, or a unit is unknown.
    """

    suffixes: ClassVar[tuple[str, ...]] = (
        *(".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz", ".parquet", ".npy", ".npz"),
    )
    variable: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    def __init__(
        self,
        dim: int,
        *,
        rate_hz: float = 50.0,
        patch: int = 10,
        limit: int = 512,
        source_rate_hz: float | None = None,
        units: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        if min(rate_hz, patch, limit, source_rate_hz or 1.0) <= 0:
            given = f"{rate_hz=}, {patch=}, {limit=}, {source_rate_hz=}"
            raise ValueError(f"rates, patch and limit must be positive, not {given}")
        for kind, unit in (units or {}).items():
            if kind not in KINDS or unit not in UNITS or UNITS[unit][0] != KINDS.index(kind):
                raise ValueError(
                    f"units has {kind!r}: {unit!r}; kinds are {', '.join(KINDS)}, units {', '.join(UNITS)}"
                )
        self.dim, self.rate_hz, self.patch, self.limit = dim, float(rate_hz), patch, limit
        self.source_rate_hz, self.units = float(source_rate_hz or rate_hz), dict(units or {})
        self.rate_given = source_rate_hz is not None
        self.project = nn.Conv1d(3 * patch, dim, 3, padding=1, padding_mode="circular", bias=False)
        nn.init.kaiming_normal_(self.project.weight, mode="fan_in", nonlinearity="leaky_relu")
        self.kind = nn.Embedding(len(KINDS), dim)
        nn.init.normal_(self.kind.weight, std=0.02)

    @staticmethod
    def claims(path: Path) -> float:
        """0.9 for columns with the names of sensors' axes, 0.3 for bare x, y, z, else 0.05."""
        try:
            if path.suffix.lower() == ".parquet":
                triads = triads_of(pq.read_schema(path).names)
            elif path.suffix.lower() in (".npy", ".npz"):
                triads = []
            else:
                triads = triads_of(opened_head(path).names)
        except Exception:
            return 0.0
        return 0.9 if any(triad.named for triad in triads) else 0.3 if triads else 0.05

    @staticmethod
    def examples() -> list[Any]:
        """Someone who nods: three axes; six at an uneven rate in g and deg/s; nine."""
        even = np.arange(120) / 50
        uneven = np.cumsum(0.02 + 0.01 * (np.arange(150) % 3))
        acc = {f"a{a}": 9.81 * np.cos(even + k) for k, a in enumerate("xyz")}
        six = {f"acc_{a} (g)": np.cos(uneven + k) for k, a in enumerate("xyz")}
        six |= {f"gyro_{a} (deg/s)": 40 * np.sin(3 * uneven + k) for k, a in enumerate("xyz")}
        nine = np.stack([(9.81, 2, 40)[k // 3] * np.cos(even[:75] * (1 + k)) for k in range(9)], 1)
        return [{"time": even, **acc}, {"time": uneven, **six}, nine]

    def read(self, source: Any) -> Sample:
        """One recording (see :func:`unimodal.reading.series.open_series` for what can be read).

        Columns that are no sensor's axis are left out. Without names, 3, 6 or 9 columns are taken for accelerometer,
        gyroscope and magnetometer in this order. The record counts steps at ``rate_hz``, and ``restore`` gives the
        file's own units; axes are in its ``names``.

        Shapes:
            sample.data: values (S, 3, L) float32 and kinds (S,).

        Raises:
            InputError: the source cannot be read, has no three axes of one sensor, or is shorter than two steps.
        """
        series = source if isinstance(source, Series) else open_series(source)
        triads, notes = self._sensors(series)
        order = [column for triad in triads for column in triad.columns]
        times, more = self._times(series)
        most = self.limit // len(triads) * self.patch
        if most == 0:
            raise InputError(series.name, f"has {len(triads)} sensors; {self.limit} tokens are allowed", "raise limit")
        values, steps = steady(times, series.values.numpy()[:, order], self.rate_hz, last=most)
        if steps < 2:
            raise InputError(series.name, f"lasts {times[-1]:.3g} s, which is less than two steps of {self.rate_hz} Hz")
        units, scale = [], []
        for triad in triads:
            unit = triad.unit or self.units.get(KINDS[triad.kind])
            if unit is None:
                unit, note = unit_of(triad.kind, series.values.numpy()[:, list(triad.columns)])
                more.append(note)
            units += [unit] * 3
            scale += [SIZES[triad.kind] / UNITS[unit][1]] * 3
        data = torch.from_numpy(values / np.array(scale)).float().mT.reshape(len(triads), 3, -1)
        if not bool(data.isfinite().all()):
            raise InputError(series.name, "has values beyond 3e38", "give it another unit")
        record = SeriesRecord(
            names=tuple(series.names[column] for column in order),
            mean=(0.0,) * len(order),
            scale=tuple(scale),
            rows=steps,
            taken=(steps - data.shape[-1], steps),
            start=None if series.start is None else series.start.isoformat(),
            step_s=1 / self.rate_hz,
            time_column=series.time_column,
            units=tuple(units),
            notes=(*series.notes, *notes, *more),
        )
        kinds = torch.tensor([triad.kind for triad in triads])
        return Sample(
            "imu", (data.contiguous(), kinds), series.name, record, len(triads) * self._cells_of(data), source
        )

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """One tensor (B, S, 3, L) when all samples have one size, else a tuple; ``extra["kinds"]`` has one a token.

        Raises:
            ValueError: there are no samples.
        """
        kinds = [sample.data[1].repeat_interleave(self._cells_of(sample.data[0])) for sample in samples]
        batch = collated("imu", [replace(sample, data=sample.data[0]) for sample in samples])
        return replace(batch, extra={"kinds": as_their_tokens(kinds, batch)})

    def forward(self, batch: Batch) -> Tokens:
        tokens = tokens_of_cells(batch.data, self._cells, modality="imu")
        return tokens.replace(tokens.x + self.kind(batch.extra["kinds"]))

    def detokenize(self, tokens: Tokens) -> Batch:
        """The steps whose tokens these are, in gravities, rad/s and 50 uT, and the kinds in ``extra``.

        Each token holds its own stretch beside its neighbours'. The repeated last value that fills the last stretch
        stays. ``record.restore(data.flatten(0, 1).mT)`` gives the file's own units.

        Raises:
            ValueError: the width is below 9 P + 3, or the tokens have no lattice.
        """
        tokens, found, kinds = tokens.lattice(), [], []
        weight = torch.cat([self.project.weight.flatten(1), self.kind.weight.T], 1)
        for x_ND, (sensors, cells) in zip(tokens.split(), tokens.side.lattices(tokens.sequences), strict=True):
            values = projected_from(x_ND, weight, None)
            own_NAP = values[:, : 9 * self.patch].unflatten(1, (3, self.patch, 3))[..., 1]
            found.append(own_NAP.unflatten(0, (sensors, cells)).transpose(1, 2).flatten(2).float())
            kinds.append(values[:, 9 * self.patch :].argmax(1))
        batch = Batch("imu", in_one(found))
        return replace(batch, extra={"kinds": as_their_tokens(kinds, batch)})

    def restore(self, values: Tensor, record: SeriesRecord) -> Tensor:
        """See :meth:`unimodal.reading.series.SeriesRecord.restore`."""
        return record.restore(values)

    def _cells(self, values_BSAL: Tensor) -> Tensor:
        """(B, D, S, T); the last value fills the last stretch."""
        short = self._cells_of(values_BSAL) * self.patch - values_BSAL.shape[-1]
        behind = values_BSAL[..., -1:].expand(*values_BSAL.shape[:-1], short)
        whole = torch.cat([values_BSAL, behind], -1).to(self.project.weight.dtype)
        stretches = whole.unflatten(-1, (-1, self.patch)).transpose(-1, -2).flatten(-3, -2)  # (B, S, 3 P, T)
        x = self.project(stretches.flatten(0, 1))
        return x.unflatten(0, stretches.shape[:2]).transpose(1, 2)

    def _cells_of(self, values: Tensor) -> int:
        return -(-values.shape[-1] // self.patch)

    def _sensors(self, series: Series) -> tuple[list[Triad], list[str]]:
        triads = triads_of(series.names)
        if triads:
            used = {column for triad in triads for column in triad.columns}
            return triads, [f"left out: {name}" for i, name in enumerate(series.names) if i not in used]
        count = len(series.names)
        if count in (3, 6, 9) and all(name.startswith("column ") for name in series.names):
            found = [Triad(kind, (3 * kind, 3 * kind + 1, 3 * kind + 2), None) for kind in range(count // 3)]
            return found, [f"columns have no names; taken for {', '.join(KINDS[: count // 3])}"]
        raise InputError(
            series.name,
            f"has no three axes of one sensor among its columns {', '.join(series.names[:12])}",
            "name them like ax, ay, az, gyro_x ..., or give 3, 6 or 9 columns without names",
        )

    def _times(self, series: Series) -> tuple[np.ndarray, list[str]]:
        """Seconds of each row, and notes."""
        rows, times = len(series.values), None if series.times_s is None else series.times_s.numpy()
        if times is not None and any("taken as seconds" in note for note in series.notes):
            step = float(np.median(np.diff(times)))
            if step > 1:
                return times / 1e3, [f"steps of {step:g} without a unit were taken as milliseconds"]
            times = None if step == 1 else times
        if times is None:
            said = "" if self.rate_given else "; say source_rate_hz if it is another"
            return np.arange(rows) / self.source_rate_hz, [f"no times: taken as {self.source_rate_hz:g} Hz{said}"]
        rate = (rows - 1) / float(times[-1])
        even = series.step_s is not None
        same = even and abs(rate / self.rate_hz - 1) < 1e-3
        return times, [] if same else [f"brought from {'' if even else 'uneven '}{rate:.4g} to {self.rate_hz:g} Hz"]
