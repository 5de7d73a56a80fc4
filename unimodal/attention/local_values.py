"""Local values: a depth-wise convolution of the values over the lattice beside any attention rule, one for all heads.

Source: Tian et al. 2023, arXiv:2212.00776 (ResFormer), local position embedding; github.com/ruitian12/resformer,
``get_local_pos_embed``; the form with a filter of each head's own: Dong et al. 2022, arXiv:2107.00652, eq. 7 (LePE).
Axes: B batch, H heads, G key heads, N queries, K key width, V value width, S sequences of one lattice, L lattice cells.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.attention.softmax import SoftmaxAttention
from unimodal.lattice_convolution import convolve_heads
from unimodal.part import Part
from unimodal.side import Side

__all__ = ["LocalValues"]


class LocalValues(nn.Module):
    """o = attention(q, k, v) + conv(v), the convolution depth-wise over the lattice and the same for every head.

    Where a cell stands among its neighbours then shows in what it gets, at any size of the lattice: near an edge part
    of the filter sees zeros. The filter starts as zeros, where this is the attention rule alone. Prefix tokens give the
    convolution nothing and get nothing from it.

    Args:
        width: Value width V.
        kernel: Side of the filter (cells), odd.
        attention: The attention rule.

    Shapes:
        q: (B, H, N, K);  k: (B, G, N, K);  v: (B, G, N, V), H a multiple of G, on a lattice of two axes;
            returns (B, H, N, V).

    Raises:
        ValueError: ``kernel`` is even; v has another width; the side has no lattice of two axes or not v's number of
            tokens; a mask, memory or causal order is set (the convolution sees all around it); or what the attention
            rule refuses.

    Cost: that of the attention rule and O(B N H V kernel^2).
    """

    def __init__(self, *, width: int, kernel: int = 3, attention: Part = Part(SoftmaxAttention)) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"kernel must be odd to have a middle, not {kernel}")
        self.attention = attention()
        self.around = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        nn.init.zeros_(self.around.weight)
        nn.init.zeros_(self.around.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, q: Tensor, k: Tensor, v: Tensor, side: Side = Side()) -> Tensor:
        side.honour("bias", "lengths", "cu_seqlens")
        if v.shape[-1] != self.around.in_channels:
            raise ValueError(f"width is {self.around.in_channels}, and v has {v.shape[-1]}")
        local_BGNV = convolve_heads(self._around, v, side)
        groups = q.shape[1] // max(v.shape[1], 1)
        local_BHNV = local_BGNV if groups == 1 else torch.repeat_interleave(local_BGNV, groups, dim=1)
        return self.attention(q, k, v, side) + local_BHNV

    def _around(self, map_SVYX: Tensor) -> Tensor:
        if map_SVYX.ndim != 4:
            raise ValueError(f"a lattice of two axes is needed here, not {tuple(map_SVYX.shape[2:])}")
        return self.around(map_SVYX)
