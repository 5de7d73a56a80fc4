"""Performer attention: an unbiased estimate of softmax attention's weights, in time linear in the tokens (FAVOR+).

Source: Choromanski et al. 2020, arXiv:2009.14794, eq. 5 (positive features), sec. 2.4 (orthogonal rows).
Axes: B batch, H heads, G key heads, N queries, M keys, K key width, V value width, R features.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.kernels.linear_attention import linear_attention
from unimodal.kernels.linear_rule import LinearRule
from unimodal.masks import keys_within
from unimodal.random_features import log_features, orthogonal_rows
from unimodal.side import Side

__all__ = ["PerformerAttention"]


class PerformerAttention(nn.Module):
    """o_n = sum_m w_nm v_m / sum_m w_nm, w_nm = phi(a q_n) phi(a k_m), which is exp(q_n k_m / sqrt(K)) on average.

    phi(x) = exp(W x - |x|^2 / 2) / sqrt(R), a = K^(-1/4). The rows of W are orthogonal in groups of K and as long as
    Gaussian vectors, so that each is distributed as one. They are fixed: drawn from ``seed`` for each K, and no state.
    Exponents are taken relative to the largest one of each query, and to the largest one of all keys of a sequence and
    head; both cancel in the quotient.

    Args:
        features: R.
        seed: Of the rows.
        scale: Factor on q k^T; None means 1 / sqrt(K).

    Shapes:
        q: (B, H, N, K);  k: (B, G, M, K);  v: (B, G, M, V), H a multiple of G;  returns (B, H, N, V).

    Raises:
        ValueError: a mask, a bias, causal order or a memory is set.

    Cost: O(B H (N + M) R (K + V)) time and O(B H (N + M) R) memory.
    """

    def __init__(self, *, features: int = 128, seed: int = 0, scale: float | None = None) -> None:
        super().__init__()
        self.features, self.seed, self.scale = features, seed, scale

    def forward(self, q: Tensor, k: Tensor, v: Tensor, side: Side = Side()) -> Tensor:
        side.honour("lengths", "cu_seqlens")
        width = q.shape[-1]
        scale = width**-0.5 if self.scale is None else self.scale
        rows = torch.as_tensor(orthogonal_rows(self.features, width, self.seed), device=q.device)
        q_BHNR = log_features(q.to(torch.promote_types(q.dtype, torch.float32)) * scale**0.5, rows)
        k_BGMR = log_features(k.to(q_BHNR.dtype) * scale**0.5, rows)
        if side.lengths is not None:
            k_BGMR = k_BGMR.masked_fill(~keys_within(side.lengths, k.shape[2]).mT, float("-inf"))
        phi_q = (q_BHNR - q_BHNR.amax(-1, keepdim=True)).exp()
        phi_k = (k_BGMR - _largest(k_BGMR, side)).exp()
        rule = LinearRule(normalised=True)
        return linear_attention(phi_q, phi_k, v, rule, lengths=side.lengths, cu_seqlens=side.cu_seqlens)


def _largest(k_BGMR: Tensor, side: Side) -> Tensor:
    """The largest exponent of a sequence and head: (B, G, 1, 1), or (1, G, M, 1) in a packed batch."""
    k_BGMR = k_BGMR.detach()
    if side.cu_seqlens is None:
        return k_BGMR.amax((2, 3), keepdim=True).clamp(min=torch.finfo(k_BGMR.dtype).min)
    sizes = side.cu_seqlens.diff().tolist()
    return torch.cat([x.amax((2, 3), keepdim=True).expand(-1, -1, x.shape[2], -1) for x in k_BGMR.split(sizes, 2)], 2)
