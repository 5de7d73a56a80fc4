"""Sliding window: softmax attention over the keys near to each query.

Source: Beltagy et al. 2020, arXiv:2004.05150, sec. 3.1 (a window on each side); in causal order: Child et al. 2019,
arXiv:1904.10509, sec. 4.2 (the local head), and github.com/huggingface/transformers, models/gpt_neo.
Axes: B batch, H heads, G key heads, N queries, M keys, K key width, V value width.
"""

import torch.nn as nn
from torch import Tensor

from unimodal.kernels.dispatch import Wish
from unimodal.kernels.window_attention import window_attention
from unimodal.side import Side

__all__ = ["SlidingWindowAttention"]


class SlidingWindowAttention(nn.Module):
    """o_n = softmax over |m - n| <= window of (q_n k_m / sqrt(K) + bias), times v.

    With a window of w a layer looks w tokens to each side, or w back in causal order, and L layers L w. GPT-Neo's
    ``window_size`` counts the query too: it is window + 1. Where there are more keys than queries, the last query
    stands beside the last key. A query that may see no key gives 0.

    Args:
        window: Largest distance of a key (tokens).
        scale: Factor on q k^T; None means 1 / sqrt(K).
        implementation: ``auto``, ``reference`` or ``require`` (see :mod:`unimodal.kernels.dispatch`).

    Shapes:
        q: (B, H, N, K);  k: (B, G, M, K);  v: (B, G, M, V), H a multiple of G;  returns (B, H, N, V).

    Raises:
        ValueError: ``window`` is negative, ``side.memory`` is set (the mixer projects it to k and v), or a packed batch
            has a mask or bias.

    Cost: O(B H N W K) time, memory linear in N.
    """

    def __init__(self, *, window: int = 256, scale: float | None = None, implementation: Wish = "auto") -> None:
        super().__init__()
        if window < 0:
            raise ValueError(f"window is a distance in tokens, at least 0, not {window}")
        self.window, self.scale = window, scale
        self.implementation: Wish = implementation

    def forward(self, q: Tensor, k: Tensor, v: Tensor, side: Side = Side()) -> Tensor:
        side.honour("mask", "bias", "causal", "lengths", "cu_seqlens")
        return window_attention(
            q,
            k,
            v,
            self.window,
            causal=side.causal,
            bias=side.bias,
            mask=side.mask,
            lengths=side.lengths,
            cu_seqlens=side.cu_seqlens,
            scale=self.scale,
            implementation=self.implementation,
        )
