"""Mixed depth-wise convolution: groups of channels look around with kernels of different sizes.

Source: Tan & Le 2019, arXiv:1907.09595, sec. 3.1; halves with 3 x 3 and 5 x 5: Xia et al. 2024, arXiv:2403.07392,
in its released code, github.com/Traffic-X/ViT-CoMer, comer_modules.py (MultiDWConv).
Axes: B rows, N tokens, D width, G groups.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.mixers.depthwise import Depthwise
from unimodal.side import Side

__all__ = ["MixedDepthwise"]


class MixedDepthwise(nn.Module):
    """y = [depthwise_1(x_1), .., depthwise_G(x_G)], x_g the g-th of G equal parts of the channels.

    Args:
        dim: Width D.
        kernels: Side of each group's kernel in cells, odd.
        bias: Whether there are biases.

    Shapes:
        x: (B, N, D) on a lattice of two axes;  returns (B, N, D).

    Raises:
        ValueError: the groups do not divide D; what :class:`~unimodal.mixers.depthwise.Depthwise` refuses.
    """

    def __init__(self, dim: int, *, kernels: tuple[int, ...] = (3, 5), bias: bool = True) -> None:
        super().__init__()
        if not kernels or dim % len(kernels):
            raise ValueError(f"kernels {kernels} must be as many as equal parts of {dim} channels")
        each = dim // len(kernels)
        self.groups = nn.ModuleList(Depthwise(each, kernel=kernel, bias=bias) for kernel in kernels)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        parts = x.chunk(len(self.groups), -1)
        return torch.cat([group(part, side) for group, part in zip(self.groups, parts, strict=True)], -1)
