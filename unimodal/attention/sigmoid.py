"""Sigmoid attention: gate each key on its own instead of normalising over keys.

Source: Ramapuram et al. 2024, arXiv:2409.04431, sec. 2; github.com/apple/ml-sigmoid-attention.
Axes: B batch, H heads, G key heads, N queries, M keys, K key width, V value width.
"""

import torch.nn as nn
from torch import Tensor

from unimodal.kernels.dispatch import Wish
from unimodal.kernels.rule import Rule
from unimodal.kernels.rule_attention import rule_attention
from unimodal.side import Side

__all__ = ["SigmoidAttention"]


class SigmoidAttention(nn.Module):
    """o = sigmoid(scale q k^T + bias + level) v, where a key that may not be seen has the weight 0.

    Weights do not sum to one and no key takes from another. With level = -log n, n the keys of the sequence, a query's
    weights sum to n / (n + 1) where logits are small, nearly as under softmax; with level 0 they sum to n / 2, and
    training starts from activations that grow with the sequence. n counts a sequence's own keys: those within its
    length, or within its part of a packed batch; a mask and causal order do not change it, as in the paper's code. No
    parameter is learned. The paper steadies long sequences with norms on queries and keys, which are the mixer's.

    Args:
        level: Fixed, in logit units (natural log odds); None for -log n.
        scale: Factor on q k^T; None means 1 / sqrt(K).
        implementation: ``auto``, ``reference`` or ``require`` (see :mod:`unimodal.kernels.dispatch`).

    Shapes:
        q: (B, H, N, K);  k: (B, G, M, K);  v: (B, G, M, V), H a multiple of G;  returns (B, H, N, V).

    Raises:
        ValueError: ``side.memory`` is set (the mixer projects it to k and v), or a packed batch has a mask or bias.

    Cost: O(B H N M K) time, O(B H N V) memory.
    """

    def __init__(
        self, *, level: float | None = None, scale: float | None = None, implementation: Wish = "auto"
    ) -> None:
        super().__init__()
        self.level, self.scale = level, scale
        self.implementation: Wish = implementation

    def forward(self, q: Tensor, k: Tensor, v: Tensor, side: Side = Side()) -> Tensor:
        side.honour("mask", "bias", "causal", "lengths", "cu_seqlens")
        return rule_attention(
            q,
            k,
            v,
            Rule("sigmoid", self.level, causal=side.causal, scale=self.scale),
            bias=side.bias,
            mask=side.mask,
            lengths=side.lengths,
            cu_seqlens=side.cu_seqlens,
            implementation=self.implementation,
        )
