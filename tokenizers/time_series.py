"""Time series: channels over time from files, arrays and tables as tokens of overlapping patches, and back.

Source: Nie et al. 2022, arXiv:2211.14730 (PatchTST), sec. 3.1: patches of P steps, one every S steps, the last value
repeated S times behind the end, one projection for all channels, instance normalisation.
Axes: B series, C channels, L steps, P patch length, T patches of a channel, N = C T tokens, D width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.cells import projected_from, tokens_of_cells
from unimodal.collation import as_their_tokens, collated, in_one
from unimodal.errors import InputError
from unimodal.reading.gaps import fill_gaps
from unimodal.reading.series import Series, SeriesRecord, open_series
from unimodal.reading.series_claim import looks_like_series
from unimodal.sample import Batch, Sample
from unimodal.tokens import Tokens

__all__ = ["TimeSeries"]


class TimeSeries(nn.Module):
    """x_ct = W s_c[S t : S t + P] + b + g m_ct, with s = (values - mean) / scale of each channel of this series.

    m_ct is the share of the patch that is missing and g a learned vector; the missing values themselves are filled
    linearly between their neighbours, so that no NaN reaches the core.

    Tokens lie on the lattice (channel, patch), one sequence a series. With irregular stamps ``side.positions`` holds
    (channel, mean time of the patch), the time in S median steps since the first patch's, which on an even series is
    the lattice itself. ``channel_independent`` makes every channel a sequence of its own, on the lattice (patch,), so
    that channels cannot see each other in the core, as in the paper: B series of C channels are B C sequences, and
    sample b's channel c is sequence b C + c if all have C channels.

    Series with more tokens than ``limit`` are read from their end: the last steps that fit are taken, and the record
    says which.

    Args:
        dim: Width D.
        patch: P in steps.
        stride: S in steps, at most P.
        steps: Exact number of last steps that is read (a published model's context), or None for all that fit.
        limit: Most tokens of a series.
        scaler: ``std`` (mean and standard deviation), ``mean`` (no level, mean magnitude) or ``none``.
        eps: Added to the variance, in squared units of the series; a constant channel has the scale 1 with 0.
        padded: Whether the last value is repeated S times, so that every step is in a patch; otherwise the first
            steps are left out that do not fill one.
        marked: Whether there is g.
        gaps: How missing values are filled: ``linear``, or ``zero`` in the series' own units (transformers' way).
        channel_independent: See above.

    Shapes:
        forward: (B, C, L), NaN where missing, or B times (C, L) of different sizes;  returns (B, N, D) with
            side.grid, or packed (1, sum of N, D) with side.grids.

    Raises:
        ValueError: a setting is not as above.
    """

    suffixes: ClassVar[tuple[str, ...]] = (
        *(".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz", ".parquet", ".npy", ".npz"),
    )
    variable: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    def __init__(
        self,
        dim: int,
        *,
        patch: int = 16,
        stride: int = 8,
        steps: int | None = None,
        limit: int = 512,
        scaler: str = "std",
        eps: float = 0.0,
        padded: bool = True,
        marked: bool = True,
        gaps: str = "linear",
        channel_independent: bool = False,
    ) -> None:
        super().__init__()
        if not 1 <= stride <= patch:
            raise ValueError(f"stride must be in 1..patch, not {stride} with patch={patch}")
        if limit < 1 or (steps is not None and steps < (2 if padded else patch)):
            raise ValueError(f"limit must be positive and steps hold a patch, not limit={limit} and steps={steps}")
        if scaler not in ("std", "mean", "none"):
            raise ValueError(f"scaler must be 'std', 'mean' or 'none', not {scaler!r}")
        if gaps not in ("linear", "zero"):
            raise ValueError(f"gaps must be 'linear' or 'zero', not {gaps!r}")
        if eps < 0:
            raise ValueError(f"eps must not be negative, not {eps}")
        self.dim, self.patch, self.stride, self.steps, self.limit = dim, patch, stride, steps, limit
        self.scaler, self.eps, self.padded, self.gaps = scaler, eps, padded, gaps
        self.channel_independent = channel_independent
        self.project = nn.Linear(patch, dim)
        self.missing = nn.Parameter(torch.randn(dim) * 0.02) if marked else None

    @staticmethod
    def claims(path: Path) -> float:
        """0.7 for columns of numbers with one of times, 0.2 for other tables and an array, 0.1 for an archive."""
        if path.suffix.lower() in (".npy", ".npz"):
            return 0.2 if path.suffix.lower() == ".npy" else 0.1
        return {"timed": 0.7, "numbers": 0.55 if ".txt" in path.name.lower() else 0.2, "table": 0.2}.get(
            looks_like_series(path), 0.0
        )

    @staticmethod
    def examples() -> list[Any]:
        """Waves: two channels, one with a gap, three at uneven times."""
        step = np.arange(150.0)
        gap = np.sin(step[:60] / 5) + 10
        gap[20:31] = np.nan
        time = np.cumsum(1 + (step * 7 % 5) / 4)
        uneven = {"time": time, **{f"c{k}": 5 * np.cos(time / (4 + k)) + k for k in range(3)}}
        return [np.stack([np.sin(step[:100] / 7), 3 * np.cos(step[:100] / 9)], 1), gap, uneven]

    def read(self, source: Any) -> Sample:
        """One series (see :func:`unimodal.reading.series.open_series` for what can be read); a :class:`Series` is taken
        too.

        Shapes:
            sample.data: (C, L) float32, standardised, NaN where missing.

        Raises:
            InputError: the source cannot be read or holds no series, has more channels than ``limit``, fewer steps
                than ``steps``, or a channel whose part that is taken has no value.
        """
        series = source if isinstance(source, Series) else open_series(source)
        rows, channels = series.values.shape
        if channels > self.limit:
            raise InputError(series.name, f"has {channels} channels; {self.limit} tokens are allowed", "raise limit")
        if rows < (self.steps or 0) or (not self.padded and rows < self.patch):
            raise InputError(series.name, f"has {rows} steps; {self.steps or self.patch} are needed")
        taken = min(rows, self.steps or rows, self._longest(self.limit // channels))
        first = rows - taken
        window = series.values[first:]
        empty = window.isnan().all(0)
        if empty.any():
            where = "" if first == 0 else f" in the last {taken} steps"
            name = series.names[int(empty.int().argmax())]
            raise InputError(series.name, f"the column {name!r} has no value{where}", "leave it out")
        mean, scale = self._scales(window)
        record = series.record(mean.tolist(), scale.tolist(), first=first)
        data = ((window - mean) / scale).float().mT.contiguous()
        if not data.nan_to_num().isfinite().all():
            raise InputError(series.name, "has values beyond 3e38", "give it another unit")
        if self.gaps == "zero":
            data = torch.where(data.isnan(), (-mean / scale).float()[:, None], data)
        return Sample("time_series", data, series.name, record, channels * self._patches(taken), source)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """One tensor (B, C, L) when all samples have one size, else a tuple of (C, L).

        Raises:
            ValueError: there are no samples.
        """
        batch = collated("time_series", samples)
        if all(record.times_s is None for record in batch.records):
            return batch
        places = [self._places(sample.data, sample.record) for sample in samples]
        if self.channel_independent:
            places = [place[..., 1:] for place in places]
        return replace(batch, extra={"positions": as_their_tokens(places, batch)})

    def forward(self, batch: Batch) -> Tokens:
        data: Any = batch.data
        places = batch.extra.get("positions")
        if not self.channel_independent:
            tokens = tokens_of_cells(data, self._cells, modality="time_series")
        else:
            rows = data.flatten(0, 1) if isinstance(data, Tensor) else [row for series in data for row in series]
            tokens = tokens_of_cells(rows, self._alone, modality="time_series")
            if places is not None and tokens.side.cu_seqlens is None:
                places = places.reshape(*tokens.x.shape[:2], 1)
        return tokens if places is None else tokens.replace(positions=places)

    def detokenize(self, tokens: Tokens) -> Batch:
        """The standardised steps that the patches cover; where patches overlap, their average.

        Prefix tokens are dropped; the repeated end stays; missing values come back as they were filled. Channels
        that were made sequences of their own come back as series of one channel. ``record.restore(data.mT)`` gives
        the series' own units.

        Raises:
            ValueError: the width is below the number of values that a token holds; or the tokens have no lattice.
        """
        tokens = tokens.lattice()
        weight, found = self.project.weight, []
        if self.missing is not None:
            weight = torch.cat([weight, self.missing[:, None]], 1)
        for x_ND, grid in zip(tokens.split(), tokens.side.lattices(tokens.sequences), strict=True):
            patches_NP = projected_from(x_ND, weight, self.project.bias)[:, : self.patch]
            patches_CPT = patches_NP.unflatten(0, (*((1,) if len(grid) == 1 else ()), *grid)).mT
            length = (1, self.patch + self.stride * (grid[-1] - 1))
            how: dict[str, Any] = {"output_size": length, "kernel_size": (1, self.patch), "stride": (1, self.stride)}
            total, count = (F.fold(p, **how)[:, 0, 0] for p in (patches_CPT, torch.ones_like(patches_CPT)))
            found.append((total / count).float())
        return Batch("time_series", in_one(found))

    def restore(self, values: Tensor, record: SeriesRecord) -> Tensor:
        """See :meth:`unimodal.reading.series.SeriesRecord.restore`."""
        return record.restore(values)

    def _alone(self, values_BL: Tensor) -> Tensor:
        """(B, D, T) of channels by themselves."""
        return self._cells(values_BL[:, None])[:, :, 0]

    def _cells(self, values_BCL: Tensor) -> Tensor:
        """(B, D, C, T)."""
        dtype = self.project.weight.dtype
        filled = fill_gaps(values_BCL).to(dtype)
        x_BCTD = self.project(self._cut(filled))
        if self.missing is not None:
            share_BCT = self._cut(values_BCL.isnan().to(dtype)).mean(-1)
            x_BCTD = x_BCTD + share_BCT[..., None] * self.missing
        return x_BCTD.movedim(-1, 1)

    def _cut(self, values: Tensor) -> Tensor:
        """(..., L) -> (..., T, P)."""
        steps = values.shape[-1]
        covered = self.patch + self.stride * (self._patches(steps) - 1)
        if self.padded:
            behind = values[..., -1:].expand(*values.shape[:-1], max(covered - steps, 0))
            values = torch.cat([values, behind], -1)[..., :covered]
        else:
            values = values[..., steps - covered :]
        return values.unfold(-1, self.patch, self.stride)

    def _patches(self, steps: int) -> int:
        """T of L steps: floor((L - P) / S) + 2 as in the paper, or + 1 without the padding; at least 1."""
        return max((steps - self.patch + (self.stride if self.padded else 0)) // self.stride, 0) + 1

    def _longest(self, patches: int) -> int:
        """Most steps that make at most so many patches."""
        return self.patch + self.stride * (patches if not self.padded else patches - 1) - 1

    def _scales(self, window: Tensor) -> tuple[Tensor, Tensor]:
        """Level and scale of each channel of (L, C)."""
        known = ~window.isnan()
        count, values = known.sum(0), window.nan_to_num()
        mean = values.sum(0) / count
        if self.scaler == "none":
            return torch.zeros_like(mean), torch.ones_like(mean)
        if self.scaler == "mean":
            scale, mean = (values.abs().sum(0) / count).clamp_min(1e-10), torch.zeros_like(mean)
            return mean, scale
        variance = ((values - mean) * known).square().sum(0) / count
        noise = (values.abs().amax(0) * 1e-12).square()  # what rounding makes of a constant
        variance = torch.where(variance <= noise, 0.0, variance) + self.eps
        return mean, torch.where(variance > 0, variance.sqrt(), 1.0)

    def _places(self, data: Tensor, record: SeriesRecord) -> Tensor:
        """(N, 2): channel and time of each token."""
        channels, steps = data.shape
        times = torch.arange(steps, dtype=torch.float64)
        if record.times_s is not None:
            times = torch.tensor(record.times_s, dtype=torch.float64)
            times = times / times.diff().median()
        covered = self.patch + self.stride * (self._patches(steps) - 1)
        if self.padded:  # time goes on where the last value is repeated
            times = torch.cat([times, times[-1] + torch.arange(1, covered - steps + 1)])
        middle = times[len(times) - covered :].unfold(-1, self.patch, self.stride).mean(-1)
        middle = ((middle - middle[0]) / self.stride).float()
        channel = torch.arange(channels, dtype=torch.float32).repeat_interleave(len(middle))
        return torch.stack([channel, middle.repeat(channels)], -1)
