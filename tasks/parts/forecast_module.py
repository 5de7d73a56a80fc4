"""Forecast module: a linear map from each column's features to its next steps, and the quantiles of its errors.

Source: Liu et al. 2023, arXiv:2310.06625, eq. 1 (projection); Nie et al. 2022, arXiv:2211.14730, sec. 3.1 (flattened
patches); intervals: Lei et al. 2018, arXiv:1604.04173, sec. 2.2 (split conformal), step by step; learned as quantile
regression: Koenker & Bassett 1978, doi:10.2307/1913643.
Axes: B series, C columns, N tokens, D width, F features of a column, S steps, Q quantiles.
"""

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.model import Model
from unimodal.sample import Batch

__all__ = ["ForecastModule"]

GAIN = 30.0  # quantiles move this much faster than weights: they have whole units to go


class ForecastModule(nn.Module):
    """forecast_c = W features_c + b in units of the window's own scale; the encoder frozen.

    An encoder of ``variates`` has one token a column. One of ``time_series`` has several, which are laid end to end;
    it has to say how many (its tokenizer's ``steps``).

    Args:
        encoder: It stays in eval mode and gets no gradient.
        horizons: Steps of each horizon, rising; the forecast has those of the last.
        levels: Shares of values that the intervals should hold, rising.
        units: Standard deviations by column in which errors are counted; see :class:`Future`.

    Raises:
        ValueError: horizons or levels are not as above, or the encoder reads no series, or any length of them.
    """

    def __init__(
        self, encoder: Model, *, horizons: Sequence[int], levels: Sequence[float], units: Mapping[str, float]
    ) -> None:
        super().__init__()
        if not _rising(horizons, int) or horizons[0] < 1:
            raise ValueError(f"horizons must be rising numbers of steps, as [24, 48], not {horizons!r}")
        if not _rising(levels, float) or not 0 < levels[0] <= levels[-1] < 1:
            raise ValueError(f"levels must be rising shares between 0 and 1, as [0.8, 0.95], not {levels!r}")
        if not isinstance(units, Mapping):
            raise ValueError(f"units must be standard deviations by column, not {units!r}")
        known = [name for name in ("variates", "time_series") if name in encoder.tokenizers]
        if not known:
            raise ValueError(f"forecasting needs an encoder of series; this one reads {', '.join(encoder.tokenizers)}")
        self.encoder = encoder.eval().requires_grad_(False)
        self.modality = known[0]
        self.options = {"horizons": list(horizons), "levels": list(levels), "units": dict(units)}
        self.head = nn.Linear(encoder.dim * self._patches(), horizons[-1])
        sides = sorted([(1 - level) / 2 for level in levels] + [(1 + level) / 2 for level in levels])
        self.register_buffer("sides", torch.tensor(sides), persistent=False)
        start = torch.tensor([NormalDist().inv_cdf(side) for side in sides])
        self.quantiles = nn.Parameter(start[:, None].repeat(1, horizons[-1]) / GAIN)

    @property
    def tokenizer(self) -> Any:
        """The encoder's tokenizer of series."""
        return self.encoder.tokenizer(self.modality)

    @property
    def lookback(self) -> int:
        """Steps that the encoder sees."""
        return self.tokenizer.lookback if self.modality == "variates" else self.tokenizer.steps

    def train(self, mode: bool = True) -> "ForecastModule":
        super().train(mode)
        self.encoder.eval()
        return self

    def forward(self, batch: Batch) -> list[Tensor]:
        """The forecast of each series, (C, S), in units of its window's scale."""
        with torch.no_grad():
            rows = self.encoder(batch).lattice().split()
        columns = [len(record.names) for record in batch.records]
        if self.modality == "variates":  # time features stand behind the columns
            features = [row_ND[:c] for row_ND, c in zip(rows, columns, strict=True)]
        else:
            flat = torch.cat(rows).reshape(sum(columns), -1)
            features = list(flat.split(columns))
        return list(self.head(torch.cat(features)).split(columns))

    def errors_at(self) -> Tensor:
        """(Q, S) rising quantiles of the errors in units of the window's scale."""
        return (self.quantiles * GAIN).sort(0).values

    def set_errors(self, quantiles: Tensor) -> None:
        """Let the intervals be those of the quantiles (Q, S)."""
        with torch.no_grad():
            self.quantiles.copy_(quantiles / GAIN)

    def quantile_loss(self, error_ES: Tensor) -> Tensor:
        """The pinball loss of errors (E, S), NaN where unknown: its minimum are their quantiles, step by step."""
        gap_EQS = error_ES[:, None] - self.quantiles * GAIN
        side_QS = self.sides[:, None]  # pyright: ignore[reportIndexIssue]
        loss = torch.maximum(side_QS * gap_EQS, (side_QS - 1) * gap_EQS)
        known = error_ES[:, None].isfinite().expand_as(loss)
        return loss.where(known, 0.0).sum() / known.sum().clamp_min(1)

    def _patches(self) -> int:
        """Tokens of a column."""
        if self.modality == "variates":
            return 1
        if self.tokenizer.steps is None:
            raise ValueError("the encoder's time_series tokenizer reads any number of steps; give it steps")
        wave = torch.arange(self.tokenizer.steps, dtype=torch.float64).sin()
        return self.tokenizer.read(wave).cost


def _rising(values: Any, kind: type) -> bool:
    """Whether these are numbers of a kind in rising order, one at least."""
    if not isinstance(values, Sequence) or isinstance(values, str) or not values:
        return False
    return all(isinstance(value, kind) for value in values) and list(values) == sorted(set(values))
