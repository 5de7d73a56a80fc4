"""Completed series: the missing values of a series from the tokens that hold them; a gap at the end is a forecast.

Source: Zerveas et al. 2020, arXiv:2010.02803, sec. 3.2 (input denoising: mean squared error on the values that were
taken away); one linear map for every patch: Nie et al. 2022, arXiv:2211.14730, sec. 3.2.
Axes: B series, C channels, L steps, T patches of a channel, R stride in steps, D width.
"""

from typing import Any

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.model import Model
from unimodal.sample import Batch

__all__ = ["CompletedSeries"]


class CompletedSeries(nn.Module):
    """loss = mean over missing (b, c, l) of (y_bcl - values_bcl)^2,  y_bc[R t : R t + R] = W z_bct + b.

    z are the core's tokens of the series with its gaps; the tokenizer fills these and tells the core which share of a
    patch is missing (see :class:`unimodal.tokenizers.time_series.TimeSeries`). A token covers more than R steps where
    patches overlap and answers for its first R. Everything is in the units in which the tokenizer standardised what it
    saw of the series.

    Args:
        dim: Width D of the model's tokens.
        stride: R, that of the model's time series tokenizer; it must divide L.

    Shapes:
        batch.data: (B, C, L), NaN where missing;  values: (B, C, L), read where the batch is NaN;  returns a scalar.
        completed: returns y (B, C, L).

    Raises:
        ValueError: ``stride`` is not positive, nothing is missing, the series differ in size, or the tokens do not
            cover them.
    """

    def __init__(self, dim: int, *, stride: int = 8) -> None:
        super().__init__()
        if stride < 1:
            raise ValueError(f"stride must be positive, not {stride}")
        self.project = nn.Linear(dim, stride)

    def forward(self, model: Model, batch: Batch, values: Tensor) -> Tensor:
        y_BCL = self.completed(model, batch)
        missing_BCL = batch.data.isnan()  # pyright: ignore[reportAttributeAccessIssue]
        if not missing_BCL.any():
            raise ValueError("no value of the batch is missing, so there is none to find")
        return F.mse_loss(y_BCL[missing_BCL], values[missing_BCL])

    def completed(self, model: Model, batch: Batch) -> Tensor:
        """Every value as the tokens have it, the known ones too."""
        data: Any = batch.data
        if not isinstance(data, Tensor):
            raise ValueError("the series of a batch must have one size")
        tokens = model(batch).lattice()
        grid = tokens.side.grid
        if grid is None or len(grid) != 2 or grid[0] != data.shape[1]:
            raise ValueError(f"tokens must lie on (channel, patch), not on {grid}")
        y_BCL = self.project(tokens.x).unflatten(1, grid).flatten(2)
        if y_BCL.shape[-1] < data.shape[-1]:
            raise ValueError(f"tokens answer for {y_BCL.shape[-1]} of {data.shape[-1]} steps; stride must divide them")
        return y_BCL[..., : data.shape[-1]]
