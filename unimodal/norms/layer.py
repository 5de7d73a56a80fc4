"""Layer norm: centre and scale each token over its channels.

Source: Ba et al. 2016, arXiv:1607.06450, eq. 4.
Axes: ... any leading axes, D channels.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.kernels.norm import norm
from unimodal.side import Side

__all__ = ["LayerNorm"]


class LayerNorm(nn.Module):
    """y = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias, var without Bessel's correction.

    Statistics are per token, so no constraint of the side can change them; they are taken in float32.

    Args:
        dim: Channels D.
        eps: Added to the variance, in squared units of x.
        bias: Whether there is an additive term.

    Shapes:
        x: (..., D);  returns (..., D) in x's dtype.
    """

    def __init__(self, dim: int, *, eps: float = 1e-6, bias: bool = True) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim)) if bias else None

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        return norm(x, "layer", weight=self.weight, bias=self.bias, eps=self.eps)
