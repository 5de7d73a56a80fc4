"""Softmax attention: weights are a softmax of scaled dot products over the keys.

Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 1.
Axes: B batch, H heads, G key heads, N queries, M keys, K key width, V value width.
"""

import torch.nn as nn
from torch import Tensor

from unimodal.kernels.attention import attention
from unimodal.kernels.dispatch import Wish
from unimodal.masks import keys_within
from unimodal.side import Side

__all__ = ["SoftmaxAttention"]


class SoftmaxAttention(nn.Module):
    """o = softmax(q k^T / sqrt(K) + bias) v.

    Each query's weights sum to one over the keys it may see; a query that may see none gives 0.

    Args:
        scale: Factor on q k^T; None means 1 / sqrt(K).
        implementation: ``auto``, ``reference`` or ``require`` (see :mod:`unimodal.kernels.dispatch`).

    Shapes:
        q: (B, H, N, K);  k: (B, G, M, K);  v: (B, G, M, V), H a multiple of G;  returns (B, H, N, V).

    Raises:
        ValueError: ``side.memory`` is set (the mixer projects it to k and v), or a packed batch has a mask or bias.

    Cost: O(B H N M K) time, O(B H N V) memory.
    """

    def __init__(self, *, scale: float | None = None, implementation: Wish = "auto") -> None:
        super().__init__()
        self.scale = scale
        self.implementation: Wish = implementation

    def forward(self, q: Tensor, k: Tensor, v: Tensor, side: Side = Side()) -> Tensor:
        side.honour("mask", "bias", "causal", "lengths", "cu_seqlens")
        mask = side.mask
        if side.lengths is not None:
            within = keys_within(side.lengths, k.shape[-2])
            mask = within if mask is None else mask & within
        return attention(
            q,
            k,
            v,
            mask=mask,
            bias=side.bias,
            causal=side.causal,
            cu_seqlens=side.cu_seqlens,
            scale=self.scale,
            implementation=self.implementation,
        )
