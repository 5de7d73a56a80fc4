"""Leading position: another position part on the first channels of each token; the others stay as they are.

Source: tokens that carry their words behind themselves: Han et al. 2021, arXiv:2103.00112, sec. 2.2.
Axes: B batch, N tokens, D width, W channels in front.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.part import Part
from unimodal.positions.sincos import SinCos
from unimodal.side import Side

__all__ = ["LeadingPosition"]


class LeadingPosition(nn.Module):
    """y = [position(x_1 .. x_W), x_(W+1) .. x_D].

    Args:
        dim: Width D.
        width: W; None for all.
        position: A position part that acts on tokens.

    Shapes:
        x: (B, N, D);  returns (B, N, D).

    Raises:
        ValueError: ``width`` is not in 1 .. D, or the position part acts on heads.
    """

    applies_to = "tokens"

    def __init__(self, dim: int, *, width: int | None = None, position: Part = Part(SinCos)) -> None:
        super().__init__()
        self.width = dim if width is None else width
        if not 0 < self.width <= dim:
            raise ValueError(f"width must be in 1..{dim}, not {width}")
        self.position = position(self.width)
        if getattr(self.position, "applies_to", "tokens") != "tokens":
            raise ValueError(f"position {type(self.position).__name__} acts on heads, not on tokens")

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        return torch.cat([self.position(x[..., : self.width], side), x[..., self.width :]], dim=-1)
