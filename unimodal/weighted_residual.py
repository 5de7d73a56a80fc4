"""Weighted residual: a branch and what it is added to, each times a trained number.

Source: Shen et al. 2021, arXiv:2111.05297 (learnable residual connection), as in its code
github.com/szq0214/SReT, SReT.py, LearnableCoefficient.
Axes: B rows, N tokens, D width.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.drop_path import drop_path
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.side import Side

__all__ = ["WeightedResidual"]


class WeightedResidual(nn.Module):
    """y = a x + b f(norm(x)), with two numbers a and b that start at 1.

    It is one half of a pre-norm block when both are 1. Where one set of weights is applied over and over, a below 1
    lets what earlier rounds added fade, and b says how much a round adds.

    Args:
        dim: Width D.
        branch: f, a mixer or a feed-forward.
        norm: Norm in front of the branch.
        drop_path: Probability that a sequence skips the branch while training.

    Shapes:
        x: (B, N, D);  returns (B, N, D).

    Raises:
        ValueError: a rate outside [0, 1); what the branch refuses.
    """

    def __init__(self, dim: int, *, branch: Part, norm: Part = Part(LayerNorm), drop_path: float = 0.0) -> None:
        super().__init__()
        if not 0.0 <= drop_path < 1.0:
            raise ValueError(f"drop_path is a probability below 1, not {drop_path}")
        self.drop_path = drop_path
        self.kept = nn.Parameter(torch.ones(()))
        self.added = nn.Parameter(torch.ones(()))
        self.norm = norm(dim)
        self.branch = branch(dim)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        f = self.branch(self.norm(x, side), side)
        f = drop_path(f, self.drop_path, side) if self.training and self.drop_path else f
        return self.kept * x + self.added * f
