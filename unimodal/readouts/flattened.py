"""Flattened readout: one linear map from all tokens of a sequence, end to end.

Source: Nie et al. 2022, arXiv:2211.14730 (PatchTST), sec. 3.1 ("a flatten layer with linear head" gives the forecast).
Axes: S sequences, N tokens, D width, E output width.
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.tokens import Tokens

__all__ = ["Flattened"]


class Flattened(nn.Module):
    """z = W [x_1; ...; x_N] + b over the N lattice tokens, behind the prefix.

    W has a column for every number of every token. A sequence with another number of tokens is brought to N of them,
    linearly in the order of the tokens, as a position table is that meets another lattice.

    Args:
        dim: Width D.
        grid: The lattice, with N cells.
        width: Output width E (steps of a forecast, classes), or None for D.

    Shapes:
        tokens: S sequences of width D;  returns (S, E).

    Raises:
        ValueError: a mask or bias is set: it would have to say which tokens count.
    """

    def __init__(self, dim: int, *, grid: tuple[int, ...], width: int | None = None) -> None:
        super().__init__()
        self.count, self.width = math.prod(grid), dim if width is None else width
        self.project = nn.Linear(self.count * dim, self.width)

    def forward(self, tokens: Tokens) -> Tensor:
        side = tokens.side.honour("causal", "lengths", "cu_seqlens", "memory")
        if side.lengths is None and side.cu_seqlens is None:
            x_SND = self._fitted(tokens.x[:, side.prefix :])
        else:
            x_SND = torch.cat([self._fitted(row[None, side.prefix :]) for row in tokens.split()])
        return self.project(x_SND.flatten(1))

    def _fitted(self, x_SND: Tensor) -> Tensor:
        if x_SND.shape[1] == self.count:
            return x_SND
        x_SDN = x_SND.mT.to(torch.promote_types(x_SND.dtype, torch.float32))
        return F.interpolate(x_SDN, size=self.count, mode="linear", align_corners=False).mT.to(x_SND.dtype)
