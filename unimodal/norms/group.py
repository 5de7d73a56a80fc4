"""Group norm: centre and scale the channels of each group over all tokens of a sequence.

Source: Wu & He 2018, arXiv:1803.08494, eq. 1 and 7.
Axes: B rows, N tokens, D channels, G groups.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.lattice import as_map
from unimodal.side import Side
from unimodal.tokens import Tokens

__all__ = ["GroupNorm"]


class GroupNorm(nn.Module):
    """y = (x - mean_g) / sqrt(var_g + eps) * weight + bias, var without Bessel's correction.

    mean and var are those of D / G neighbouring channels at all real tokens of one sequence, its prefix included; no
    other sequence counts, so training and use are the same.

    Args:
        dim: Channels D.
        groups: G.
        eps: Added to the variance, in squared units of x.

    Shapes:
        x: (B, N, D);  returns (B, N, D) in x's dtype; padding gets anything finite.

    Raises:
        ValueError: groups do not divide D; a mask or causal order is set (the statistics would see what is hidden).
    """

    def __init__(self, dim: int, *, groups: int, eps: float = 1e-5) -> None:
        super().__init__()
        if groups < 1 or dim % groups:
            raise ValueError(f"groups must divide the {dim} channels, not {groups}")
        self.groups, self.eps = groups, eps
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        side.honour("bias", "memory", "lengths", "cu_seqlens")  # bias and memory are between tokens, not in them
        if side.lengths is None and side.cu_seqlens is None:
            return self._normed(x)
        rows = [self._normed(row[None])[0] if len(row) else row for row in Tokens(x, side).split()]
        if side.cu_seqlens is not None:
            return torch.cat(rows)[None]
        return torch.stack([F.pad(row, (0, 0, 0, x.shape[1] - len(row))) for row in rows])

    def _normed(self, x_SND: Tensor) -> Tensor:
        # As a map of one column with its channels last, for which torch's kernel needs no copy.
        map_SDN1 = as_map(x_SND, (x_SND.shape[1], 1))
        return F.group_norm(map_SDN1, self.groups, self.weight, self.bias, self.eps).flatten(2).mT
