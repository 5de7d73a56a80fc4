"""Linear attention over all pairs in plain torch: the judge of every other implementation.

Source: the equations of :mod:`unimodal.kernels.linear_rule`.
Axes: B batch, H heads, G key heads, N queries, M keys, K key width, V value width.
"""

from functools import partial

import torch
from torch import Tensor

from unimodal.kernels.by_sequence import by_sequence
from unimodal.kernels.linear_rule import FEATURES, PLAIN_LINEAR, LinearRule

__all__ = ["reference"]


def reference(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rule: LinearRule = PLAIN_LINEAR,
    *,
    decay: Tensor | None = None,
    mask: Tensor | None = None,
    lengths: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> Tensor:
    """The equation, in float32 at least; arguments as :func:`unimodal.kernels.linear_attention.linear_attention`."""
    if cu_seqlens is not None:
        return by_sequence(partial(reference, rule=rule, decay=decay), q, k, v, cu_seqlens)
    dtype, features = torch.promote_types(torch.promote_types(q.dtype, v.dtype), torch.float32), FEATURES[rule.features]
    k_BHMK, v_BHMV = (t.to(dtype).repeat_interleave(q.shape[1] // t.shape[1], dim=1) for t in (k, v))
    weight_BHNM = features.equation(q.to(dtype)) @ features.equation(k_BHMK).mT

    place_N = torch.arange(q.shape[2], device=q.device) + k.shape[2] - q.shape[2]
    distance_NM = place_N[:, None] - torch.arange(k.shape[2], device=q.device)
    if decay is not None:
        weight_BHNM = weight_BHNM * (decay.to(dtype)[:, None, None] * distance_NM.clamp_min(0)).exp()
    allowed = distance_NM >= 0 if rule.causal else torch.ones_like(distance_NM, dtype=torch.bool)
    if lengths is not None:
        allowed = allowed & (torch.arange(k.shape[2], device=q.device) < lengths[:, None])[:, None, None]
    if mask is not None:
        allowed = allowed & mask
    weight_BHNM = weight_BHNM.masked_fill(~allowed, 0.0)

    o_BHNV = weight_BHNM @ v_BHMV
    if rule.normalised:
        total_BHN1 = weight_BHNM.sum(-1, keepdim=True) + rule.eps
        o_BHNV = o_BHNV / total_BHN1.where(total_BHN1 != 0, 1.0)
    return o_BHNV.to(v.dtype)
