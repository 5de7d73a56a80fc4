"""Token performer attention: the random features of T2T-ViT's token blocks, as released.

Source: Yuan et al. 2021, arXiv:2101.11986, sec. 3.1; github.com/yitu-opensource/T2T-ViT, models/token_performer.py;
features: Choromanski et al. 2020, arXiv:2009.14794, eq. 5.
Axes: B batch, H heads, G key heads, N queries, M keys, K key width, V value width, R features.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.kernels.linear_attention import linear_attention
from unimodal.kernels.linear_rule import LinearRule
from unimodal.random_features import log_features, orthogonal_rows
from unimodal.side import Side

__all__ = ["TokenPerformerAttention"]


class TokenPerformerAttention(nn.Module):
    """o = phi(q) (phi(k)^T v) / (phi(q) sum phi(k) + 1e-8), phi(x) = exp(W x - |x|^2 / 2) / sqrt(R).

    Three things differ from :class:`~unimodal.attention.performer.PerformerAttention`, and weights that were trained
    with them need them: q k is not scaled; the rows of W are orthogonal and of length sqrt(R), not of a Gaussian
    vector's sqrt(K) on average, so that phi(q) phi(k) is a biased estimate of exp(q k); and exponents are taken as
    they are, with 1e-8 in the denominator.

    Args:
        features: R, at most K.
        width: K, if the rows are to be kept with the weights (the released ones are); None for rows that are drawn
            from ``seed`` for each K and are no state.
        seed: Of the rows.

    Shapes:
        q: (B, H, N, K);  k: (B, G, M, K);  v: (B, G, M, V), H a multiple of G;  returns (B, H, N, V).

    Raises:
        ValueError: a mask, a bias, causal order or a memory is set, or K is not ``width``.

    Cost: O(B H (N + M) R (K + V)) time and O(B H (N + M) R) memory.
    """

    rows: Tensor | None

    def __init__(self, *, features: int = 32, width: int | None = None, seed: int = 0) -> None:
        super().__init__()
        self.features, self.seed, self.width = features, seed, width
        self.register_buffer("rows", self._drawn(width) if width is not None else None)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, side: Side = Side()) -> Tensor:
        side.honour("lengths", "cu_seqlens")
        if self.width not in (None, q.shape[-1]):
            raise ValueError(f"width must be that of the keys, {q.shape[-1]}, not {self.width}")
        rows = self._drawn(q.shape[-1]).to(q.device) if self.rows is None else self.rows
        phi_q, phi_k = (log_features(x, rows).exp() for x in (q, k))
        rule = LinearRule(normalised=True, eps=1e-8)
        return linear_attention(phi_q, phi_k, v, rule, lengths=side.lengths, cu_seqlens=side.cu_seqlens)

    def _drawn(self, width: int) -> Tensor:
        return torch.tensor(orthogonal_rows(self.features, width, self.seed, gaussian=False)) * self.features**0.5
