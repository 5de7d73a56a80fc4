"""Retention: linear attention whose weights fade by a factor of their own in each head, with a norm head by head.

Source: Sun et al. 2023, arXiv:2307.08621, eq. 5 (parallel), 6 (recurrent), 7 (chunks), 8 (decays and norm), sec. 2.1
(normalised scores); released code: github.com/microsoft/torchscale, torchscale/component/multiscale_retention.py.
Axes: B batch, H heads, G key heads, N queries, M keys, K key width, V value width.
"""

import math

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.kernels.dispatch import Wish
from unimodal.kernels.linear_attention import advance, linear_attention
from unimodal.kernels.linear_rule import LinearRule
from unimodal.kernels.norm import norm
from unimodal.side import Side

__all__ = ["RetentionAttention"]

_RULE = LinearRule(causal=True)


class RetentionAttention(nn.Module):
    """o_n = norm(sum_{m <= n} g^(n-m) (scale q_n k_m) v_m), g = 1 - 2^(-5-h) of head h = 0 .. H - 1.

    It is always causal: a decay counts tokens back. What is before a token is held in one K x V state a head, which
    :meth:`advance` carries from token to token. The parallel form here goes by chunks, so that no pair of distant
    tokens is ever computed.

    The paper and the released code divide the decays of a row by the root of their sum, and then the scores by the
    larger of 1 and the absolute value of theirs. The norm undoes both, but for ``eps``, which counts more where scores
    are large: ``scores="normalised"`` does it, at the cost of one more column of values. ``norm="rms"`` is that of the
    released code and ``norm="group"`` (with the mean taken out) the paper's; neither has parameters.

    The rotation of queries and keys is a position part of the mixer, and the gate silu(x W) * o is not in it.

    Args:
        heads: H.
        norm: ``rms`` or ``group``, over the V numbers of a head.
        scores: ``plain`` or ``normalised``, see above.
        scale: Factor on q k^T; None means 1 / sqrt(K).
        eps: Of the norm.
        implementation: ``auto``, ``reference`` or ``require`` (see :mod:`unimodal.kernels.dispatch`).

    Shapes:
        q: (B, H, N, K);  k: (B, G, M, K);  v: (B, G, M, V), H a multiple of G;  returns (B, H, N, V).

    Raises:
        ValueError: an unknown norm or form of scores; q has another number of heads; a bias or ``side.memory`` is set;
            a packed batch has a mask; or a state is carried through normalised scores.

    Cost: O(B H N (K V + 64 (K + V))) time, O(B H N V) memory; with a mask that has an axis of queries O(B H N M).
    """

    def __init__(
        self,
        *,
        heads: int,
        norm: str = "rms",
        scores: str = "plain",
        scale: float | None = None,
        eps: float = 1e-6,
        implementation: Wish = "auto",
    ) -> None:
        super().__init__()
        if norm not in ("rms", "group"):
            raise ValueError(f"norm must be 'rms' or 'group', not {norm!r}")
        if scores not in ("plain", "normalised"):
            raise ValueError(f"scores must be 'plain' or 'normalised', not {scores!r}")
        self.norm, self.scores, self.scale, self.eps = norm, scores, scale, eps
        self.decay = [math.log1p(-(2.0 ** (-5 - h))) for h in range(heads)]  # no buffer: half precision would round it
        self.implementation: Wish = implementation

    def forward(self, q: Tensor, k: Tensor, v: Tensor, side: Side = Side()) -> Tensor:
        side.honour("mask", "causal", "lengths", "cu_seqlens")
        if self.scores == "normalised":
            v = torch.cat([v, v.new_ones(*v.shape[:3], 1)], -1)
        options = {"mask": side.mask, "lengths": side.lengths, "cu_seqlens": side.cu_seqlens}
        decay, q = self._decay(q), self._scaled(q)
        o = linear_attention(q, k, v, _RULE, decay=decay, **options, implementation=self.implementation)
        if self.scores == "normalised":
            place_N = _places(q, side.cu_seqlens) + k.shape[2] - q.shape[2] + 1
            reach_HN1 = -(decay[:, None] * place_N.clamp(min=0)).expm1() / -decay.expm1()[:, None]
            root_HN1 = reach_HN1.clamp(min=1.0).sqrt()[..., None].to(q.dtype)
            o = o[..., :-1] / torch.maximum(o[..., -1:].detach().abs(), root_HN1)
        return self._normed(o)

    def advance(self, q: Tensor, k: Tensor, v: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The next tokens, and the state behind them: :func:`unimodal.kernels.linear_attention.advance`."""
        if self.scores == "normalised":
            raise ValueError("scores must be 'plain' where a state is carried: it does not tell how far back")
        o, state = advance(self._scaled(q), k, v, _RULE, state, decay=self._decay(q))
        return self._normed(o), state

    def _scaled(self, q: Tensor) -> Tensor:
        return q * (q.shape[-1] ** -0.5 if self.scale is None else self.scale)

    def _decay(self, q: Tensor) -> Tensor:
        if q.shape[1] != len(self.decay):
            raise ValueError(f"heads is {len(self.decay)}, and q has {q.shape[1]}")
        return torch.tensor(self.decay, dtype=torch.float64, device=q.device)

    def _normed(self, o: Tensor) -> Tensor:
        return norm(o, "rms" if self.norm == "rms" else "layer", eps=self.eps)


def _places(q: Tensor, cu_seqlens: Tensor | None) -> Tensor:
    """The place of each query in its own sequence."""
    place_N = torch.arange(q.shape[2], device=q.device)
    if cu_seqlens is None:
        return place_N
    return place_N - cu_seqlens[torch.searchsorted(cu_seqlens, place_N, right=True) - 1]
