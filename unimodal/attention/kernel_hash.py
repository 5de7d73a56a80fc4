"""Kernel hash attention: queries and keys as short codes of signs, so that attention needs time linear in the tokens.

Source: Liu et al. 2022, arXiv:2209.09004, sec. 4 (EcoFormer); the two numerators: github.com/ziplab/EcoFormer,
pvt/performer.py and pvt/hashing/ksh.py.
Axes: B batch, H heads, N queries, M keys, K key width, V value width, A anchors, R bits.
"""

import math
from typing import Any, NamedTuple

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.kernels.linear_attention import linear_attention
from unimodal.kernels.linear_rule import LinearRule
from unimodal.masks import keys_within
from unimodal.side import Side

__all__ = ["KernelHashAttention"]


class KernelHashAttention(nn.Module):
    """o_n = sum_m w_nm v_m / sum_m w_nm, w_nm = c(q_n) c(k_m) + R + 1 = 2 R + 1 - 2 (bits in which they differ).

        c_r(x) = sign(sum_a d_ra (exp(-|x - anchor_a|^2 / (2 s^2)) - mean_a)) in {-1, 1},  x of length one

    s^2 is the mean squared distance of a sequence's keys from the anchors, for each head. Anchors, means and directions
    d are buffers that :func:`unimodal.fit_hash.fit_hash` learns once, so that similar keys get similar codes, and
    ``fitted`` says whether it has. Until then they are drawn from ``seed`` and know nothing of any keys.

    Products with a code are additions and subtractions, and all weights are at least 1. The gradient of the sign is
    that of the identity within (-1, 1) and 0 outside.

    The released code's numerator has (R + 1) v_n, the query's own value, where the sum above has (R + 1) sum_m v_m. It
    does not fit the denominator: equal values are not returned as they are. ``numerator="own"`` is that one.

    The paper gives queries and keys one projection (:class:`~unimodal.mixers.shared_query_key.SharedQueryKey`); the
    same hash reads both in any case.

    Args:
        heads: H, of queries, keys and values.
        width: K.
        bits: R.
        anchors: A.
        numerator: ``sum`` or ``own``.
        seed: Of what stands in the buffers until they are learned.

    Shapes:
        q: (B, H, N, K);  k: (B, H, M, K);  v: (B, H, M, V);  returns (B, H, N, V).

    Raises:
        ValueError: ``numerator`` is neither; q or k do not have H heads of width K; the numerator is ``own`` and there
            are not as many keys as queries; or a mask, a bias, causal order or a memory is set (s sees all keys).

    Cost: O(B H (N + M) (A (K + R) + R V)) time, O(B H (N + M) (A + R)) memory.
    """

    anchors: Tensor
    means: Tensor
    directions: Tensor
    fitted: Tensor

    def __init__(
        self, *, heads: int, width: int, bits: int = 16, anchors: int = 25, numerator: str = "sum", seed: int = 0
    ) -> None:
        super().__init__()
        if numerator not in ("sum", "own"):
            raise ValueError(f"numerator must be 'sum' or 'own', not {numerator!r}")
        self.heads, self.width, self.bits, self.numerator = heads, width, bits, numerator
        draw = torch.Generator().manual_seed(seed)
        self.register_buffer("anchors", F.normalize(torch.randn(heads, anchors, width, generator=draw), dim=-1))
        self.register_buffer("means", torch.full((heads, anchors), math.exp(-0.5)))  # at the distance s
        self.register_buffer("directions", torch.randn(heads, bits, anchors, generator=draw))
        self.register_buffer("fitted", torch.tensor(False))

    def forward(self, q: Tensor, k: Tensor, v: Tensor, side: Side = Side()) -> Tensor:
        side.honour("lengths", "cu_seqlens")
        for name, x in (("q", q), ("k", k)):
            if x.shape[1] != self.heads or x.shape[3] != self.width:
                raise ValueError(f"{name} must have {self.heads} heads of width {self.width}, not {tuple(x.shape)}")
        spread = self.spread(k, side)
        code_BHMR = self.codes(k, spread)
        code_BHNR = code_BHMR if q is k else self.codes(q, spread)
        values, own = v.to(code_BHMR.dtype), _Own(side.lengths, side.cu_seqlens)
        shifted_q, shifted_k = F.pad(code_BHNR, (0, 1), value=self.bits + 1.0), F.pad(code_BHMR, (0, 1), value=1.0)
        if self.numerator == "sum":
            return own.attention(shifted_q, shifted_k, values, normalised=True).to(v.dtype)
        if q.shape[2] != k.shape[2]:
            raise ValueError(f"numerator='own' needs a value for each query: {q.shape[2]} and {k.shape[2]} keys")
        total_BHN1 = own.attention(shifted_q, shifted_k, torch.ones_like(values[..., :1]))
        weighted_BHNV = own.attention(code_BHNR, code_BHMR, values) + (self.bits + 1) * values
        return (weighted_BHNV / total_BHN1.where(total_BHN1 > 0, 1.0)).to(v.dtype)

    def spread(self, k: Tensor, side: Side = Side()) -> Tensor:
        """s^2 of each sequence and head: (B, H, 1, 1), or (1, H, M, 1) in a packed batch."""
        of_key_BHM = self._distances(k).mean(-1)
        if side.cu_seqlens is not None:
            place = torch.arange(k.shape[2], device=k.device)
            sequence_M = torch.bucketize(place, side.cu_seqlens[1:].to(place), right=True)
            sums_HS = of_key_BHM.new_zeros(self.heads, len(side.cu_seqlens) - 1).index_add(1, sequence_M, of_key_BHM[0])
            means_HS = sums_HS / side.cu_seqlens.diff().clamp(min=1)
            return means_HS[:, sequence_M][None, ..., None]
        if side.lengths is not None:
            within = keys_within(side.lengths, k.shape[2])[:, 0]
            of_key_BHM = of_key_BHM.masked_fill(~within, 0.0)
            return (of_key_BHM.sum(-1) / side.lengths.clamp(min=1)[:, None])[..., None, None]
        return of_key_BHM.mean(-1)[..., None, None]

    def features(self, x: Tensor, spread: Tensor) -> Tensor:
        """exp(-|x - anchor_a|^2 / (2 s^2)) - mean_a: (B, H, N, A)."""
        kernel = (-self._distances(x) / (2 * spread.clamp(min=torch.finfo(spread.dtype).tiny))).exp()
        return kernel - self.means.to(kernel.dtype)[:, None]

    def codes(self, x: Tensor, spread: Tensor) -> Tensor:
        """c(x): (B, H, N, R) of -1 and 1, in float32 or finer."""
        h = self.features(x, spread)
        return _Sign.apply(h @ self.directions.to(h.dtype).mT)

    def _distances(self, x: Tensor) -> Tensor:
        """Squared distances of directions x / |x| from the anchors: (B, H, N, A)."""
        h = F.normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=-1)
        anchors = self.anchors.to(h.dtype)
        squares = h.square().sum(-1, keepdim=True) + anchors.square().sum(-1)[:, None]
        return (squares - 2 * h @ anchors.mT).clamp(min=0.0)


class _Own(NamedTuple):
    """Which keys belong to a query: those of its sequence."""

    lengths: Tensor | None
    cu_seqlens: Tensor | None

    def attention(self, q: Tensor, k: Tensor, v: Tensor, *, normalised: bool = False) -> Tensor:
        rule = LinearRule(normalised=normalised)
        return linear_attention(q, k, v, rule, lengths=self.lengths, cu_seqlens=self.cu_seqlens)


class _Sign(torch.autograd.Function):
    """1 where x > 0, else -1; its gradient goes through where x lies within (-1, 1)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.where(x > 0, 1.0, -1.0).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grads[0] * (x.abs() < 1)
