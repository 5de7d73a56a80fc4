"""Convolution: each token gathers its neighbours on the lattice, in groups of channels that do not see one another.

Source: groups: Krizhevsky et al. 2012, sec. 3.5, and Xie et al. 2016, arXiv:1611.05431, sec. 3.3; as the token mixer of
a block, with a group a head: Li et al. 2022, arXiv:2207.05501, sec. 3.2.
Axes: B rows, N tokens, D width, E output width, G groups, K kernel, Y X the lattice.
"""

from functools import partial

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.folding import scaled
from unimodal.lattice_convolution import convolve_lattice
from unimodal.side import Side

__all__ = ["Convolution"]


class Convolution(nn.Module):
    """y[p] = b + sum_u W[u] x[p + u], u over a box of K x K with its middle at 0, x = 0 outside, W[u] in G blocks.

    Prefix tokens are off the lattice: they get b alone and give nothing. So a norm in use behind this map, one factor
    and one shift a channel, goes into it exactly, whatever the batch (:meth:`scaled`).
    A norm in front does not: the zeros around a lattice are not shifted with its cells.

    Args:
        dim: Width D.
        kernel: K in cells, odd.
        groups: G; they divide D and E. With one channel each it is :class:`~unimodal.mixers.depthwise.Depthwise`.
        width: E, or None for D.
        bias: Whether there is b.

    Shapes:
        x: (B, N, D) on a lattice of two axes;  returns (B, N, E).

    Raises:
        ValueError: a kernel without a middle; groups do not divide; a lattice of other than two axes, or none; a mask,
            bias, memory or causal order is set.

    Cost: O(B N K^2 D E / G).
    """

    def __init__(
        self, dim: int, *, kernel: int = 3, groups: int = 1, width: int | None = None, bias: bool = True
    ) -> None:
        super().__init__()
        self.width = dim if width is None else width
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel must be odd and positive to have a middle, not {kernel}")
        if groups < 1 or self.width < 1 or dim % groups or self.width % groups:
            raise ValueError(f"groups must divide the widths {dim} and {self.width}, not {groups}")
        self.kernel, self.groups = kernel, groups
        weight = nn.init.trunc_normal_(torch.empty(self.width, dim // groups, kernel, kernel), std=0.02)
        # Channels last as those of the tokens are: otherwise each call copies it.
        self.weight = nn.Parameter(weight.contiguous(memory_format=torch.channels_last))
        self.bias = nn.Parameter(torch.zeros(self.width)) if bias else None

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        side.honour("lengths", "cu_seqlens")
        if self.bias is None or not side.prefix:
            return convolve_lattice(self._around, x, side)
        return convolve_lattice(partial(self._around, biased=False), x, side) + self.bias

    def scaled(self, factor_E: Tensor, shift_E: Tensor) -> "Convolution":
        """The map whose output is ``factor_E`` times this one's plus ``shift_E``, both in float64."""
        return scaled(self, factor_E, shift_E)

    def _around(self, map_SD: Tensor, *, biased: bool = True) -> Tensor:
        if map_SD.ndim != 4:
            raise ValueError(f"a lattice of two axes is needed here, not {tuple(map_SD.shape[2:])}")
        bias = self.bias if biased else None
        return F.conv2d(map_SD, self.weight, bias, padding=self.kernel // 2, groups=self.groups)
