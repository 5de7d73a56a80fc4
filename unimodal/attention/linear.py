"""Linear attention: products of features of queries and keys as weights, in time linear in the tokens.

Source: Katharopoulos et al. 2020, arXiv:2006.16236, eq. 4-5 and 8-9, eq. 7 (elu + 1); eps: github.com/idiap/
fast-transformers, attention/linear_attention.py.
Axes: B batch, H heads, G key heads, N queries, M keys, K key width, V value width.
"""

import torch.nn as nn
from torch import Tensor

from unimodal.kernels.dispatch import Wish
from unimodal.kernels.linear_attention import advance, linear_attention
from unimodal.kernels.linear_rule import LinearRule
from unimodal.side import Side

__all__ = ["LinearAttention"]


class LinearAttention(nn.Module):
    """o_n = sum_m phi(q_n) phi(k_m) v_m / (sum_m phi(q_n) phi(k_m) + eps) over the keys that are seen.

    No function stands between the two products, so that all keys and values are summed once for all queries. In causal
    order that sum is a state, and :meth:`advance` goes on from it token by token. As weights shrink, the quotient's
    gradient grows without bound (arXiv:2210.10340, sec. 3.1); :class:`~unimodal.attention.norm_attention.NormAttention`
    leaves the denominator out. q k is not scaled, as in the released code.

    Args:
        features: phi, number by number: ``elu_plus_one``, ``relu``, ``elu`` or ``identity``. Features that may be
            negative give denominators near 0: take those with ``normalised=False``.
        normalised: Whether there is a denominator.
        eps: Of the denominator.
        implementation: ``auto``, ``reference`` or ``require`` (see :mod:`unimodal.kernels.dispatch`).

    Shapes:
        q: (B, H, N, K);  k: (B, G, M, K);  v: (B, G, M, V), H a multiple of G;  returns (B, H, N, V).

    Raises:
        ValueError: unknown features; a bias is set, which sums over keys cannot hold; ``side.memory`` is set (the mixer
            projects it to k and v); or a packed batch has a mask.

    Cost: O(B H (N + M) K V) time, O(B H N V) memory; with a mask that has an axis of queries O(B H N M) of both.
    """

    def __init__(
        self,
        *,
        features: str = "elu_plus_one",
        normalised: bool = True,
        eps: float = 1e-6,
        implementation: Wish = "auto",
    ) -> None:
        super().__init__()
        self.rule, self.causal = (LinearRule(features, order, normalised, eps) for order in (False, True))
        self.implementation: Wish = implementation

    def forward(self, q: Tensor, k: Tensor, v: Tensor, side: Side = Side()) -> Tensor:
        side.honour("mask", "causal", "lengths", "cu_seqlens")
        options = {"mask": side.mask, "lengths": side.lengths, "cu_seqlens": side.cu_seqlens}
        return linear_attention(
            q, k, v, self.causal if side.causal else self.rule, **options, implementation=self.implementation
        )

    def advance(self, q: Tensor, k: Tensor, v: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The next tokens in causal order, and the state behind them (:mod:`unimodal.kernels.linear_attention`)."""
        return advance(q, k, v, self.causal, state)
