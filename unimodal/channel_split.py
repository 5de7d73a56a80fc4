"""Channel split: groups of channels each go through a part of their own, and stand beside one another again.

Source: convolutions for some channels and attention for the others: Si et al. 2022, arXiv:2205.12956, sec. 3.1; several
bands of frequencies: Tan et al. 2023, arXiv:2311.05707; kernels of several sizes: Tan & Le 2019, arXiv:1907.09595, sec.
3.1.
Axes: B rows, N tokens, D width, E width behind.
"""

from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.part import Part
from unimodal.side import Side

__all__ = ["ChannelSplit"]


class ChannelSplit(nn.Module):
    """y = [f_1(x_1), .., f_n(x_n)], where x = [x_1, .., x_n] along the channels.

    No part sees another's channels; what follows mixes them.

    Args:
        dim: Width D.
        parts: f_1 .. f_n.
        widths: Channels of x_1 .. x_n, or None for equal ones.

    Shapes:
        x: (B, N, D);  returns (B, N, E), E the sum of the parts' widths (``width``).

    Raises:
        ValueError: no parts; the widths are not as many, not positive or not D in all; what the parts refuse.
    """

    def __init__(self, dim: int, *, parts: tuple[Part, ...], widths: tuple[int, ...] | None = None) -> None:
        super().__init__()
        if not parts:
            raise ValueError("a split has at least one part")
        self.widths = (dim // len(parts),) * len(parts) if widths is None else tuple(widths)
        if len(self.widths) != len(parts) or sum(self.widths) != dim or min(self.widths) < 1:
            raise ValueError(f"widths must be {len(parts)} positive ones, {dim} in all, not {self.widths}")
        made: list[Any] = [part(width) for part, width in zip(parts, self.widths, strict=True)]
        self.parts = nn.ModuleList(made)
        self.width = sum(getattr(part, "width", width) for part, width in zip(made, self.widths, strict=True))

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        pairs = zip(self.parts, x.split(self.widths, -1), strict=True)
        return torch.cat([part(x_i, side) for part, x_i in pairs], -1)
