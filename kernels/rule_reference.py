"""Attention under a rule in plain torch: the judge of every other implementation.

Source: the equations of :mod:`unimodal.kernels.rule`; the multiplier behind the weights: Luo et al. 2022,
arXiv:2205.13401, eq. 8.
Axes: B batch, H heads, G key heads, N queries, M keys, K key width, V value width, O offsets.
"""

from functools import partial

import torch
from torch import Tensor

from unimodal.kernels.by_sequence import by_sequence
from unimodal.kernels.rule import PLAIN, WEIGHTS, Rule, check_diagonals

__all__ = ["reference"]


def reference(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rule: Rule = PLAIN,
    *,
    before: Tensor | None = None,
    after: Tensor | None = None,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> Tensor:
    """The equation with at least float32 accumulation; arguments as :func:`unimodal.kernels.rule_attention`."""
    if cu_seqlens is not None:
        return by_sequence(partial(reference, rule=rule, before=before, after=after), q, k, v, cu_seqlens)
    check_diagonals(max(q.shape[2], k.shape[2]), before=before, after=after)
    dtype = torch.promote_types(q.dtype, torch.float32)
    k_BHMK, v_BHMV = (t.repeat_interleave(q.shape[1] // t.shape[1], dim=1).to(dtype) for t in (k, v))
    logit_BHNM = q.to(dtype) @ k_BHMK.mT * (q.shape[-1] ** -0.5 if rule.scale is None else rule.scale)

    place_N = torch.arange(q.shape[2], device=q.device) + k.shape[2] - q.shape[2]
    place_M = torch.arange(k.shape[2], device=q.device)
    offset_NM = place_M - place_N[:, None]
    if before is not None:
        logit_BHNM = logit_BHNM + _at(before, offset_NM)
    if bias is not None:
        logit_BHNM = logit_BHNM + bias
    if rule.level is not None:
        logit_BHNM = logit_BHNM + rule.level
    else:
        keys = torch.tensor([k.shape[2]], device=q.device) if lengths is None else lengths
        logit_BHNM = logit_BHNM - keys.clamp(min=1).to(dtype).log()[:, None, None, None]

    allowed = torch.ones_like(offset_NM, dtype=torch.bool)[None, None]
    if rule.causal:
        allowed = allowed & (offset_NM <= 0)
    if rule.window is not None:
        allowed = allowed & (offset_NM.abs() <= rule.window)
    if lengths is not None:
        allowed = allowed & (place_M < lengths[:, None])[:, None, None]
    if mask is not None:
        allowed = allowed & mask

    weight_BHNM = WEIGHTS[rule.weights].equation(logit_BHNM.masked_fill(~allowed, float("-inf")))
    weight_BHNM = weight_BHNM.masked_fill(~allowed, 0.0)  # a softmax without keys is NaN until here
    if after is not None:
        weight_BHNM = weight_BHNM * _at(after, offset_NM)
    return (weight_BHNM @ v_BHMV).to(v.dtype)


def _at(diagonals_HO: Tensor, offset_NM: Tensor) -> Tensor:
    """The Toeplitz matrices (H, N, M) whose diagonals are given."""
    return diagonals_HO[:, offset_NM + (diagonals_HO.shape[1] - 1) // 2]
