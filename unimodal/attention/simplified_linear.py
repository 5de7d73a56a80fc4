"""Simplified linear attention: ReLU features instead of a softmax, and a convolution that brings back what is near.

Source: Guo et al. 2024, arXiv:2405.11582, sec. 3.3 (SLA); the table of places and the order of products:
github.com/xinghaochen/SLAB, classification/models/slab_deit.py.
Axes: B batch, H heads, N tokens, K key width, L lattice cells, S sequences of one lattice.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.kernels.linear_attention import linear_attention
from unimodal.kernels.linear_rule import LinearRule
from unimodal.lattice_convolution import convolve_heads
from unimodal.positions.learned import Learned
from unimodal.side import Side

__all__ = ["SimplifiedLinearAttention"]


class SimplifiedLinearAttention(nn.Module):
    """o_n = sum_m w_nm v_m / (sum_m w_nm + 1e-6) + conv(v)_n, w_nm = relu(q_n) relu(k_m + p_m).

    p is a learned vector for each head and cell of the lattice, zero at first and resampled for other lattices. The
    convolution is depth-wise over the lattice; all heads share its weights. There is no scale, which would cancel, and
    no power on the features. Weights are not negative, and all of them are 0 where relu(q) or every relu(k) is.
    Prefix tokens have no p, and neither give to the convolution nor get from it.

    The sums of products are taken in float32 or finer, in either of two orders that differ by rounding only: keys
    with values first, O(N K^2), or queries with keys first, O(N^2 K).

    Args:
        heads: H, of queries, keys and values.
        width: K, of keys and of values.
        grid: The lattice of p.
        kernel: Side of the convolution (cells), odd.
        order: ``keys`` or ``pairs`` first, or ``cost`` for the one with fewer products: ``keys`` from N = K + 1 on
            (and in padded and packed batches).

    Shapes:
        q, k, v: (B, H, N, K) on a lattice of two axes;  returns (B, H, N, K).

    Raises:
        ValueError: an unknown order or an even kernel; q, k and v do not have H heads of width K and the same tokens;
            the side has no lattice of two axes; or a mask, a bias, causal order or a memory is set (the convolution
            sees all around it).

    Cost: O(B H N K min(N, K)) time, O(B H N K) memory with keys first.
    """

    def __init__(self, *, heads: int, width: int, grid: tuple[int, int], kernel: int = 5, order: str = "cost") -> None:
        super().__init__()
        if order not in ("cost", "keys", "pairs"):
            raise ValueError(f"order must be 'cost', 'keys' or 'pairs', not {order!r}")
        if kernel % 2 == 0:
            raise ValueError(f"kernel must be odd to have a middle, not {kernel}")
        self.heads, self.width, self.order = heads, width, order
        self.position = Learned(heads * width, grid=grid)
        nn.init.zeros_(self.position.table)
        self.around = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, side: Side = Side()) -> Tensor:
        side.honour("lengths", "cu_seqlens")
        for name, x in (("q", q), ("k", k), ("v", v)):
            if x.shape != (q.shape[0], self.heads, q.shape[2], self.width):
                raise ValueError(f"{name} must have {self.heads} heads of width {self.width}, not {tuple(x.shape)}")
        k = self.position(k.transpose(1, 2).flatten(2), side).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        wide = torch.promote_types(q.dtype, torch.float32)
        o_BHNK = linear_attention(
            q.to(wide),
            k.to(wide),
            v.to(wide),
            LinearRule("relu", normalised=True, eps=1e-6),
            lengths=side.lengths,
            cu_seqlens=side.cu_seqlens,
            implementation="reference" if self._pairs_first(q.shape[2], side) else "auto",
        )
        return (o_BHNK + convolve_heads(self.around, v, side)).to(v.dtype)

    def _pairs_first(self, tokens: int, side: Side) -> bool:
        if self.order != "cost":
            return self.order == "pairs"
        return side.lengths is None and side.cu_seqlens is None and tokens <= self.width
