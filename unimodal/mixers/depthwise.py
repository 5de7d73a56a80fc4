"""Depth-wise convolution: each channel looks around on the lattice by itself.

Source: Howard et al. 2017, arXiv:1704.04861, eq. 3; as the mixer of a block: Liu et al. 2022, arXiv:2201.03545, sec.
2.4 and 2.5.
Axes: B rows, N tokens, D width, Y X the lattice, K kernel.
"""

from functools import partial

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.folding import scaled
from unimodal.lattice_convolution import convolve_lattice
from unimodal.side import Side

__all__ = ["Depthwise"]


class Depthwise(nn.Module):
    """y[d, p] = b[d] + sum_u W[d, u] x[d, p + r u], u over a box of K x K with its middle at 0, x = 0 outside.

    Prefix tokens are off the lattice: they get b alone and give nothing. So a norm in use behind this map, one factor
    and one shift a channel, goes into it exactly, whatever the batch (:meth:`scaled`).

    Args:
        dim: Width D.
        kernel: K in cells, odd; one number for two axes, or one an axis, of pictures (Y, X) or clips (T, Y, X).
        dilation: r, the step between the cells that are looked at.
        bias: Whether there is b.

    Shapes:
        x: (B, N, D) on a lattice of as many axes as the kernel;  returns (B, N, D).

    Raises:
        ValueError: the kernel is even or not positive, or has other than two or three axes; the dilation is not
            positive; the side has no lattice of the kernel's axes; a mask, bias, memory or causal order is set (the
            convolution sees all around it).

    Cost: O(B N D K^2).
    """

    writes_anew = True

    def __init__(self, dim: int, *, kernel: int | tuple[int, ...] = 3, dilation: int = 1, bias: bool = True) -> None:
        super().__init__()
        sides = (kernel, kernel) if isinstance(kernel, int) else tuple(kernel)
        if any(n < 1 or n % 2 == 0 for n in sides):
            raise ValueError(f"kernel must be odd and positive to have a middle, not {kernel}")
        if len(sides) not in (2, 3):
            raise ValueError(f"kernel has two axes or three, not {kernel}")
        if dilation < 1:
            raise ValueError(f"dilation must be positive, not {dilation}")
        self.kernel, self.dilation = kernel, dilation
        self.weight = nn.Parameter(nn.init.trunc_normal_(torch.empty(dim, 1, *sides), std=0.02))
        self.bias = nn.Parameter(torch.zeros(dim)) if bias else None

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        inside = None if side.prefix else self.bias  # one pass less; a prefix token gets b from no convolution
        y = convolve_lattice(partial(self._around, bias=inside), x, side.honour("lengths", "cu_seqlens"))
        return y if self.bias is None or inside is not None else y + self.bias

    def scaled(self, factor_D: Tensor, shift_D: Tensor) -> "Depthwise":
        """The map whose output is ``factor_D`` times this one's plus ``shift_D``, both in float64."""
        return scaled(self, factor_D, shift_D)

    def _around(self, map_SD: Tensor, *, bias: Tensor | None) -> Tensor:
        sides = self.weight.shape[2:]
        if map_SD.ndim != self.weight.ndim:
            axes = "two axes" if len(sides) == 2 else "three axes"
            raise ValueError(f"a lattice of {axes} is needed here, not {tuple(map_SD.shape[2:])}")
        convolve = F.conv2d if len(sides) == 2 else F.conv3d
        reach = tuple(self.dilation * (n // 2) for n in sides)
        return convolve(map_SD, self.weight, bias, padding=reach, dilation=self.dilation, groups=len(self.weight))
