"""Leading norm: another norm on the first channels of each token; the others stay as they are.

Source: tokens that carry their words behind themselves: Han et al. 2021, arXiv:2103.00112, sec. 2.2.
Axes: ... any leading axes, D channels, W of them in front.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.side import Side

__all__ = ["LeadingNorm"]


class LeadingNorm(nn.Module):
    """y = [norm(x_1 .. x_W), x_(W+1) .. x_D].

    Args:
        dim: Channels D.
        width: W; None for all.
        norm: The norm.

    Shapes:
        x: (..., D);  returns (..., D).

    Raises:
        ValueError: ``width`` is not in 1 .. D.
    """

    def __init__(self, dim: int, *, width: int | None = None, norm: Part = Part(LayerNorm)) -> None:
        super().__init__()
        self.width = dim if width is None else width
        if not 0 < self.width <= dim:
            raise ValueError(f"width must be in 1..{dim}, not {width}")
        self.norm = norm(self.width)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        return torch.cat([self.norm(x[..., : self.width], side), x[..., self.width :]], dim=-1)
