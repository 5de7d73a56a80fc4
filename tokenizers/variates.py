"""Variates: each column of a series as one token, its whole look-back window through one linear map.

Source: Liu et al. 2023, arXiv:2310.06625 (iTransformer), sec. 3.1, eq. 1 (inverted embedding); time stamps as further
tokens and the scaling of each window follow its code (DataEmbedding_inverted, use_norm).
Axes: B series, C columns, M time features (4, or 0 without dates), N = C + M tokens, L look-back in steps, D width.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.cells import projected_from, tokens_of_cells
from unimodal.collation import collated, in_one
from unimodal.instance_scale import instance_scale
from unimodal.reading.even_steps import even_steps
from unimodal.reading.series import Series, open_series
from unimodal.sample import Batch, Sample
from unimodal.time_features import time_features
from unimodal.tokens import Tokens

__all__ = ["Variates"]


class Variates(nn.Module):
    """x_c = drop(W (s_c - mu_c) / sigma_c + b), and for a time feature x_m = drop(W f_m + b).

    The tokens are the last ``lookback`` steps of the series; the record says which rows they are and what was
    interpolated. Columns have no order: no position belongs to them, so any number of them under any names goes in,
    and permuting them permutes the tokens. All columns of numbers are taken, a token each, however many there are.

    sigma counts its epsilon in units of the column's standard deviation over all rows up to the window's end, as the
    published protocol scales columns first; so a x + b has the tokens of x.

    Args:
        dim: Width D.
        lookback: Steps L of the window.
        stamps: Whether time features follow the columns as tokens, if the series has dates.
        rate: Probability that a number of a token is dropped while training.

    Shapes:
        forward: (B, N, L), or B times (N, L);  returns (B, N, D) with side.grid (N,), or when numbers of columns
            differ packed (1, S, D) with side.grids.

    Raises:
        ValueError: ``lookback`` below 2 or a rate outside [0, 1).
    """

    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv", ".parquet", ".npy", ".npz")
    variable: ClassVar[Mapping[str, Any]] = {}

    def __init__(self, dim: int, *, lookback: int = 96, stamps: bool = True, rate: float = 0.0) -> None:
        super().__init__()
        if lookback < 2:
            raise ValueError(f"lookback must be at least 2 steps, not {lookback}")
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"rate is a probability below 1, not {rate}")
        self.lookback, self.stamps, self.rate = lookback, stamps, rate
        self.embed = nn.Linear(lookback, dim)

    @staticmethod
    def claims(path: Path) -> float:
        """A series of unknown use is cut into patches, not variates: this one is for tasks that ask for it."""
        return 0.0

    @staticmethod
    def examples() -> list[dict[str, np.ndarray]]:
        """Waves of one, three and five columns, of three lengths, two of them with dates."""
        out = []
        for columns, rows, dated in ((3, 200, True), (5, 96, True), (1, 150, False), (2, 60, False)):
            t = np.arange(rows)
            named = {f"wave {c + 1}": np.sin(2 * np.pi * t / (12 + 5 * c)) + 0.02 * c * t for c in range(columns)}
            hours = np.datetime64("2024-02-27T06", "s") + t * np.timedelta64(3600, "s")
            out.append({"time": hours, **named} if dated else named)
        return out

    def read(self, source: Any) -> Sample:
        """The last window of a series (see :func:`unimodal.reading.series.open_series`, or a Series as it is).

        Shapes:
            sample.data: (N, L) float32; sample.record.restore takes (..., C).

        Raises:
            InputError: the source cannot be opened or is no series.
        """
        series = source if isinstance(source, Series) else open_series(source)
        rows = len(series.values)
        window = even_steps(series, self.lookback)
        values_CL = window.values.mT
        mean, scale = instance_scale(values_CL, _unit(series.values))
        tokens = [(values_CL - mean) / scale]
        moments = window.moments if self.stamps else None
        if moments is not None:
            held = np.concatenate([np.repeat(moments[:1], self.lookback - len(moments)), moments])
            tokens.append(torch.from_numpy(time_features(held)))
        data = torch.cat(tokens).float()
        record = series.record(
            mean.flatten().tolist(),
            scale.flatten().tolist(),
            first=max(0, rows - self.lookback),
            notes=window.notes,
        )
        return Sample("variates", data, series.name, record, len(data), source)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """One tensor (B, N, L) when all have one number of columns, else a tuple of (N, L).

        Raises:
            ValueError: there are no samples.
        """
        return collated("variates", samples)

    def forward(self, batch: Batch) -> Tokens:
        return tokens_of_cells(batch.data, self._embedded, modality="variates")

    def detokenize(self, tokens: Tokens) -> Batch:
        """The scaled windows (N, L) whose tokens these are; needs D >= L.

        Raises:
            ValueError: the width is too small.
        """
        rows = [projected_from(x_ND, self.embed.weight, self.embed.bias).float() for x_ND in tokens.split()]
        return Batch("variates", in_one(rows))

    def _embedded(self, window_BNL: Tensor) -> Tensor:
        weight = self.embed.weight
        return F.dropout(self.embed(window_BNL.to(weight.dtype)), self.rate, self.training).mT


def _unit(values_RC: Tensor) -> Tensor:
    """The standard deviation of each column (C, 1), without what is missing; of a constant one its size, or 1."""
    known = values_RC.isfinite()
    count = known.sum(0).clamp_min(1)
    level = values_RC.where(known, 0.0).sum(0) / count
    spread = ((values_RC - level).where(known, 0.0).square().sum(0) / count).sqrt()
    size = level.abs().where(level != 0, 1.0)
    return spread.where(spread > 1e-9 * size, size)[:, None]
