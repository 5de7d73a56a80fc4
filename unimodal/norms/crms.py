"""Compressed RMS norm: the RMS norm of a zero-mean token whose last channel is left out, because it follows.

Source: Jiang et al. 2023, arXiv:2305.14858, sec. 3 (CRMSNorm).
Axes: ... any leading axes, D channels.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.kernels.norm import norm
from unimodal.side import Side

__all__ = ["CompressedRMSNorm"]


class CompressedRMSNorm(nn.Module):
    """y = x / sqrt((sum(x^2) + sum(x)^2) / (D + 1) + eps) * weight.

    A token of D + 1 channels whose mean is zero has -sum(x) as its last one, so this is the first D channels of its
    RMS norm, and of its layer norm. Statistics are per token, so no constraint of the side can change them.

    Args:
        dim: Channels D, one fewer than those of the token that is meant.
        eps: Added to the mean square, in squared units of x.

    Shapes:
        x: (..., D);  returns (..., D) in x's dtype. Statistics are taken in float32 or finer.

    Cost: see :mod:`unimodal.kernels.norm`.
    """

    def __init__(self, dim: int, *, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        return norm(x, "crms", weight=self.weight, eps=self.eps)
