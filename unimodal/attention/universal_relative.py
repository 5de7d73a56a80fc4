"""Universal relative attention: a Toeplitz factor behind the softmax lets relative positions tell absolute ones.

Source: Luo et al. 2022, arXiv:2205.13401, eq. 8; one table a head: github.com/lsj2408/URPE.
Axes: B batch, H heads, G key heads, N queries, M keys, K key width, V value width.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.kernels.dispatch import Wish
from unimodal.kernels.rule import Rule
from unimodal.kernels.rule_attention import rule_attention
from unimodal.side import Side
from unimodal.toeplitz import diagonals

__all__ = ["UniversalRelativeAttention"]


class UniversalRelativeAttention(nn.Module):
    """o = (softmax(scale q k^T + B + bias) * C) v, B_nm = b(m - n), C_nm = c(m - n): Toeplitz matrices for each head.

    Each row of a softmax sums to one, so that with B alone equal tokens are all mapped to one value and their places
    are lost. C stands behind the normalisation and no row is normalised again: its sum tells the place. C starts as
    ones, where this is :class:`~unimodal.attention.relative_bias.RelativeBiasAttention`.

    Where there are more keys than queries, the last query stands beside the last key: n counts from M - N.
    The released code shares both tables among all layers; here each layer has its own. Offsets beyond ``length`` share
    the outermost number.

    Args:
        heads: Query heads H.
        length: L, tokens whose 2 L - 1 offsets are told apart.
        scale: Factor on q k^T; None means 1 / sqrt(K).
        implementation: ``auto``, ``reference`` or ``require`` (see :mod:`unimodal.kernels.dispatch`).

    Shapes:
        q: (B, H, N, K);  k: (B, G, M, K);  v: (B, G, M, V), H a multiple of G;  returns (B, H, N, V).

    Raises:
        ValueError: ``length`` is below 1; q has another number of heads; ``side.memory`` is set (the mixer projects it
            to k and v); or a packed batch has a mask or bias.

    Cost: O(B H N M K) time, O(B H (N + M)) memory: neither B nor C is made.
    """

    def __init__(
        self, *, heads: int, length: int = 512, scale: float | None = None, implementation: Wish = "auto"
    ) -> None:
        super().__init__()
        if length < 1:
            raise ValueError(f"length is a number of tokens, at least 1, not {length}")
        self.scale = scale
        self.implementation: Wish = implementation
        self.bias = nn.Parameter(torch.empty(heads, 2 * length - 1))
        self.gain = nn.Parameter(torch.ones(heads, 2 * length - 1))
        nn.init.normal_(self.bias, std=0.02)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, side: Side = Side()) -> Tensor:
        side.honour("mask", "bias", "causal", "lengths", "cu_seqlens")
        if q.shape[1] != self.bias.shape[0]:
            raise ValueError(f"heads is {self.bias.shape[0]}, and q has {q.shape[1]}")
        longest = max(q.shape[2], k.shape[2])
        return rule_attention(
            q,
            k,
            v,
            Rule(causal=side.causal, scale=self.scale),
            before=diagonals(self.bias, longest),
            after=diagonals(self.gain, longest),
            bias=side.bias,
            mask=side.mask,
            lengths=side.lengths,
            cu_seqlens=side.cu_seqlens,
            implementation=self.implementation,
        )
