"""Block-local: softmax attention within blocks of a sequence, and to the block before.

Source: Zhang et al. 2023, arXiv:2310.12442 (MASFormer), sec. 3.
Axes: B batch, H heads, G key heads, N queries, M keys, K key width, V value width.
"""

import torch.nn as nn
from torch import Tensor

from unimodal.kernels.dispatch import Wish
from unimodal.kernels.strip_attention import strip_attention
from unimodal.kernels.strips import Strips
from unimodal.side import Side

__all__ = ["BlockLocalAttention"]


class BlockLocalAttention(nn.Module):
    """o_n = softmax of (q_n k_m / sqrt(K) + bias) over the keys m of n's block and the ``lookback`` blocks before it.

    Blocks are counted from the start of each sequence; the last one may be shorter. In causal order only m <= n are
    seen, so that a token sees between 1 and (1 + lookback) block of them. Out of causal order it sees all of its own
    block and of the one before, and never what comes behind. Without lookback no layer crosses a boundary; with it, L
    layers look L blocks back. Where there are more keys than queries, blocks are counted from the first key, and the
    last query stands beside the last key. A query that may see no key gives 0.

    Args:
        block: Tokens of a block.
        lookback: Blocks before a token's own that it sees, 0 or 1.
        scale: Factor on q k^T; None means 1 / sqrt(K).
        implementation: ``auto``, ``reference`` or ``require`` (see :mod:`unimodal.kernels.dispatch`).

    Shapes:
        q: (B, H, N, K);  k: (B, G, M, K);  v: (B, G, M, V), H a multiple of G;  returns (B, H, N, V).

    Raises:
        ValueError: ``block`` is below 1, ``lookback`` is neither 0 nor 1, ``side.memory`` is set (the mixer projects it
            to k and v), or a packed batch has a mask or bias.

    Cost: O(B H N block K) time, memory linear in N.
    """

    def __init__(
        self, *, block: int = 1024, lookback: int = 0, scale: float | None = None, implementation: Wish = "auto"
    ) -> None:
        super().__init__()
        if block < 1:
            raise ValueError(f"block is a number of tokens, at least 1, not {block}")
        if lookback not in (0, 1):
            raise ValueError(f"lookback is a number of blocks, 0 or 1, not {lookback}")
        self.block, self.lookback, self.scale = block, lookback, scale
        self.implementation: Wish = implementation

    def forward(self, q: Tensor, k: Tensor, v: Tensor, side: Side = Side()) -> Tensor:
        side.honour("mask", "bias", "causal", "lengths", "cu_seqlens")
        return strip_attention(
            q,
            k,
            v,
            Strips(self.block, self.lookback * self.block, causal=side.causal),
            mask=side.mask,
            bias=side.bias,
            lengths=side.lengths,
            cu_seqlens=side.cu_seqlens,
            scale=self.scale,
            implementation=self.implementation,
        )
