"""RMS norm: scale each token by the root mean square of its channels, without centring.

Source: Zhang & Sennrich 2019, arXiv:1910.07467, eq. 4.
Axes: ... any leading axes, D channels.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.kernels.norm import norm
from unimodal.side import Side

__all__ = ["RMSNorm"]


class RMSNorm(nn.Module):
    """y = x / sqrt(mean(x^2) + eps) * weight.

    The paper's equation has no eps; it is needed for a zero token, which maps to 0.

    Args:
        dim: Channels D.
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
        return norm(x, "rms", weight=self.weight, eps=self.eps)
