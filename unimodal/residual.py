"""Residual: one branch of several parts in a row, added to what it was made of.

Source: He et al. 2015, arXiv:1512.03385, eq. 1; a mixer and a feed-forward in one branch: Liu et al. 2022,
arXiv:2201.03545, sec. 2.4; layer scale: Touvron et al. 2021, arXiv:2103.17239, eq. 3.
Axes: B rows, N tokens, D width.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.drop_path import drop_path
from unimodal.folding import folded_row
from unimodal.part import Part
from unimodal.sharing_copy import sharing_copy
from unimodal.side import Side

__all__ = ["Residual"]


class Residual(nn.Module):
    """y = x + s f_n(... f_2(f_1(x))), s a factor a channel.

    It is the block of a convolutional network, whose mixer and feed-forward share one branch with the norms between
    and behind them; :class:`~unimodal.block.Block` gives each of the two a branch of its own.

    Args:
        dim: Width D.
        branch: f_1 .. f_n: mixers, norms and feed-forwards.
        layer_scale: Initial value of s, or None for no factor.
        drop_path: Probability that a sequence skips the branch while training.

    Shapes:
        x: (B, N, D);  returns (B, N, D).

    Raises:
        ValueError: an empty branch or a rate outside [0, 1); what the parts refuse.
    """

    def __init__(
        self, dim: int, *, branch: tuple[Part, ...], layer_scale: float | None = None, drop_path: float = 0.0
    ) -> None:
        super().__init__()
        if not branch:
            raise ValueError("branch must have at least one part")
        if not 0.0 <= drop_path < 1.0:
            raise ValueError(f"drop_path is a probability below 1, not {drop_path}")
        self.drop_path = drop_path
        self.branch = nn.ModuleList(part(dim) for part in branch)
        self.scale = None if layer_scale is None else nn.Parameter(torch.full((dim,), float(layer_scale)))

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        h = x
        for part in self.branch:
            h = part(h, side)
        h = drop_path(h, self.drop_path, side) if self.training and self.drop_path else h
        return x + h if self.scale is None else torch.addcmul(x, h, self.scale)

    def deployed(self) -> "Residual":
        """The same outputs in use, with norms that are affine then, and s, in the maps beside them.

        See :func:`~unimodal.folding.folded_row` for the norms.
        """
        made = sharing_copy(self)
        parts = folded_row(made.branch)
        if made.scale is not None and hasattr(parts[-1], "scaled"):
            scale_D = made.scale.detach().double()
            parts[-1], made.scale = parts[-1].scaled(scale_D, torch.zeros_like(scale_D)), None
        made.branch = nn.ModuleList(parts)
        return made
