"""Appended: what a part makes of tokens stands beside them, as further channels.

Source: Huang et al. 2016, arXiv:1608.06993, eq. 2 (a layer reads the ones before it and adds its channels); a branch of
convolutions that reads what attention made: Li et al. 2022, arXiv:2207.05501, sec. 3.3.
Axes: B rows, N tokens, D width, E width of what is appended.
"""

from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.part import Part
from unimodal.side import Side

__all__ = ["Appended"]


class Appended(nn.Module):
    """y = [x, f(x)] along the channels.

    Args:
        dim: Width D.
        part: f, any part from tokens to as many tokens.

    Shapes:
        x: (B, N, D);  returns (B, N, D + E) (``width``).

    Raises:
        ValueError: what the part refuses.
    """

    def __init__(self, dim: int, *, part: Part) -> None:
        super().__init__()
        self.part: Any = part(dim)
        self.width = dim + getattr(self.part, "width", dim)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        return torch.cat([x, self.part(x, side)], -1)
