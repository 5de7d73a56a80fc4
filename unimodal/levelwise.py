"""Levelwise: the lattices of a pyramid that stand end to end in a sequence, each one by itself.

Source: one depth-wise convolution for all levels, and one a level: Xia et al. 2024, arXiv:2403.07392, in its released
code, github.com/Traffic-X/ViT-CoMer, comer_modules.py (DWConv, MultiDWConv).
Axes: B rows, N tokens of all levels, D width, E width behind.
"""

from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.part import Part
from unimodal.side import Side

__all__ = ["Levelwise"]


class Levelwise(nn.Module):
    """y_l = f_(l mod n)(x_l): what reads a lattice reads one level after the other and sees none of the others.

    With one part all levels share its weights; with as many as there are levels each has its own.

    Args:
        dim: Width D.
        parts: f_0 .. f_(n-1): mixers, norms, or chains of them.

    Shapes:
        x: (B, N, D) with side.levels, or on a lattice, which is one level;  returns (B, N, E).

    Raises:
        ValueError: no parts; several levels with prefix tokens or a constraint; what the parts refuse.
    """

    def __init__(self, dim: int, *, parts: tuple[Part, ...]) -> None:
        super().__init__()
        if not parts:
            raise ValueError("parts must have at least one part")
        made: list[Any] = [part(dim) for part in parts]
        self.parts = nn.ModuleList(made)
        self.width = getattr(made[0], "width", dim)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        if side.levels is None:
            return self.parts[0](x, side)
        side.honour()
        if side.prefix:
            raise ValueError(f"the {side.prefix} prefix tokens belong to no level")
        each = x.split([rows * columns for rows, columns in side.levels], 1)
        count = len(self.parts)
        made = [self.parts[i % count](x, Side(grid=side.levels[i])) for i, x in enumerate(each)]
        return torch.cat(made, 1)
