"""Unit length readout: another readout's vector, divided by its length, so that dot products are cosines.

Source: Reimers & Gurevych 2019, arXiv:1908.10084, sec. 3 (cosine similarity of pooled sentence vectors).
Axes: S sequences, D width, E output width.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.part import Part
from unimodal.tokens import Tokens

__all__ = ["UnitLength"]


class UnitLength(nn.Module):
    """z = pool(x) / max(|pool(x)|, 1e-12), the length in float32 (float64 for float64).

    Args:
        dim: Width D.
        pool: A readout of width D.

    Shapes:
        tokens: S sequences of width D;  returns (S, E).
    """

    def __init__(self, dim: int, *, pool: Part) -> None:
        super().__init__()
        self.pool = pool(dim)
        self.width = getattr(self.pool, "width", dim)

    def forward(self, tokens: Tokens) -> Tensor:
        z_SE = self.pool(tokens)
        return F.normalize(z_SE.to(torch.promote_types(z_SE.dtype, torch.float32)), dim=-1).to(z_SE.dtype)
