"""Linear attention by sums over pairs of features on CUDA, as an operator of torch with its gradients.

Source: the equations of :mod:`unimodal.kernels.linear_rule`; PyTorch, "Python custom operators".
Axes: B batch, H heads, G key heads, N queries, M keys, K key width, V value width.

Features, masked keys and the division by the normaliser are torch's; the normaliser is one more column of the values,
of ones.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from unimodal.kernels.linear_rule import FEATURES, LinearRule

__all__ = ["summed"]


def summed(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rule: LinearRule,
    *,
    decay: Tensor | None = None,
    seen: Tensor | None = None,
    cu_seqlens: Tensor | None = None,
) -> Tensor:
    """:func:`unimodal.kernels.linear_attention.linear_attention`, N = M in causal order, without a state."""
    features, dtype = FEATURES[rule.features].equation, v.dtype
    q, k = features(q), features(k)
    if seen is not None:
        if seen.shape[1] not in (1, k.shape[1]):
            k, v = (t.repeat_interleave(seen.shape[1] // t.shape[1], dim=1) for t in (k, v))
        k, v = k.masked_fill(~seen, 0.0), v.masked_fill(~seen, 0.0)
    if not rule.normalised:
        return _sums(q, k, v, decay, cu_seqlens, rule.causal).to(dtype)
    o = _sums(q, k, torch.cat([v, v.new_ones(*v.shape[:3], 1)], -1), decay, cu_seqlens, rule.causal)
    total = o[..., -1:] + rule.eps
    return (o[..., :-1] / total.where(total != 0, 1.0)).to(dtype)


@torch.library.custom_op("unimodal::linear_sums", mutates_args=())
def _sums(q: Tensor, k: Tensor, v: Tensor, decay: Tensor | None, cu_seqlens: Tensor | None, causal: bool) -> Tensor:
    from unimodal.kernels.linear_attention_triton import sums

    return sums(q, k, v, decay, cu_seqlens, causal=causal)


@_sums.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, decay: Any, cu_seqlens: Any, causal: bool) -> Tensor:
    return q.new_empty(*q.shape[:3], v.shape[3], dtype=torch.float32)


@torch.library.custom_op("unimodal::linear_sums_backward", mutates_args=())
def _backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, decay: Tensor | None, cu_seqlens: Tensor | None, causal: bool
) -> list[Tensor]:
    from unimodal.kernels.linear_attention_triton import sums

    grad = grad.to(v.dtype)
    of_q = sums(grad, v, k, decay, cu_seqlens, causal=causal)
    of_k = sums(v, grad, q, decay, cu_seqlens, causal=causal, reverse=causal)
    of_v = sums(k, q, grad, decay, cu_seqlens, causal=causal, reverse=causal)
    of_log = q.new_zeros(q.shape[1], dtype=torch.float64)
    if decay is not None:  # sum (i - j) a_ij = sum_i i q_i dq_i - sum_j j k_j dk_j: see linear_tiles.py
        shares_BHN = (q * of_q).sum(-1) - (k.repeat_interleave(q.shape[1] // k.shape[1], dim=1) * of_k).sum(-1)
        of_log = (shares_BHN.double() @ torch.arange(q.shape[2], dtype=torch.float64, device=q.device)).sum(0)
    of_k, of_v = (x.unflatten(1, (k.shape[1], -1)).sum(2) for x in (of_k, of_v))
    return [of_q.to(q.dtype), of_k.to(k.dtype), of_v.to(v.dtype), of_log]


@_backward.register_fake
def _(grad: Tensor, q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> list[Tensor]:
    return [*(t.new_empty(t.shape) for t in (q, k, v)), q.new_empty(q.shape[1], dtype=torch.float64)]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:5])
    ctx.causal = inputs[5]


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    *found, of_log = _backward(grad, *ctx.saved_tensors, ctx.causal)
    decay = ctx.saved_tensors[3]
    return (*found, None if decay is None else of_log.to(decay.dtype), None, None)


_sums.register_autograd(_gradients, setup_context=_setup_context)


@register_flop_formula(torch.ops.unimodal.linear_sums)
def _operations(q: Any, k: Any, v: Any, *rest: Any, out_shape: Any = None, **_options: Any) -> int:
    """Multiplications and additions of the sums over pairs of features; arguments are shapes."""
    return 2 * q[0] * q[1] * (q[2] + k[2]) * q[3] * v[3]
