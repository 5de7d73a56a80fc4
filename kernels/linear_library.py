"""Linear attention in tiles as operators of torch: autograd, torch.compile and torch.export see one opaque call.

Source: PyTorch, "Python custom operators" (torch.library.custom_op, register_fake, register_autograd).
Axes: B batch, H heads, N queries, K key width, V value width, S sequences.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from unimodal.kernels.linear_rule import LinearRule
from unimodal.kernels.linear_tiles import CHUNK, Held, accumulated, backward, forward, states_like

__all__ = ["tiled"]


def tiled(
    q: Tensor, k: Tensor, v: Tensor, rule: LinearRule, held: Held, *, keep: bool = False
) -> tuple[Tensor, Tensor]:
    """:func:`unimodal.kernels.linear_tiles.forward` with its own backward pass; without ``keep`` the state is empty."""
    tensors = (held.decay, held.state, held.seen, held.cu_seqlens)
    return _forward(q, k, v, *tensors, rule.features, rule.causal, rule.normalised, rule.eps, keep)


@torch.library.custom_op("unimodal::linear_attention", mutates_args=())
def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Tensor | None,
    state: Tensor | None,
    seen: Tensor | None,
    cu_seqlens: Tensor | None,
    features: str,
    causal: bool,
    normalised: bool,
    eps: float,
    keep: bool,
) -> tuple[Tensor, Tensor]:
    held = Held(decay, state, seen, cu_seqlens)
    out, last = forward(q, k, v, LinearRule(features, causal, normalised, eps), held)
    return out, last if keep else last.new_empty(0)


@_forward.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, decay: Any, state: Tensor | None, *rest: Any) -> tuple[Tensor, Tensor]:
    (_seen, cu_seqlens, *rule, keep), out = rest, v.new_empty(*q.shape[:3], v.shape[3])
    if not keep:  # and no size of a state is asked for, which an exported program would hold to
        return out, q.new_empty(0, dtype=accumulated(q, v))
    return out, states_like(q, v, LinearRule(*rule), Held(None, state, None, cu_seqlens))


@torch.library.custom_op("unimodal::linear_attention_backward", mutates_args=())
def _backward(
    grad: Tensor,
    grad_last: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Tensor | None,
    state: Tensor | None,
    seen: Tensor | None,
    cu_seqlens: Tensor | None,
    features: str,
    causal: bool,
    normalised: bool,
    eps: float,
    keep: bool,
    of_decay: bool,
) -> list[Tensor]:
    rule, held = LinearRule(features, causal, normalised, eps), Held(decay, state, seen, cu_seqlens)
    *found, of_state, of_log = backward(grad, grad_last if keep else None, q, k, v, rule, held, of_decay)
    return [*found, of_state if keep or state is not None else of_state.new_empty(0), of_log]


@_backward.register_fake
def _(
    grad: Tensor, grad_last: Tensor, q: Tensor, k: Tensor, v: Tensor, decay: Any, state: Tensor | None, *rest: Any
) -> list[Tensor]:
    like = grad_last if state is None else state
    of_state = grad_last.new_empty(like.shape, dtype=accumulated(q, v))
    return [*(t.new_empty(t.shape) for t in (q, k, v)), of_state, q.new_empty(q.shape[1], dtype=torch.float64)]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs[:7])
    ctx.switches = inputs[7:]


def _gradients(ctx: Any, grad: Tensor, grad_last: Tensor) -> tuple[Tensor | None, ...]:
    q, k, v, decay, state, *rest = ctx.saved_tensors
    wanted = bool(ctx.needs_input_grad[3])
    *found, of_state, of_log = _backward(grad, grad_last, q, k, v, decay, state, *rest, *ctx.switches, wanted)
    of_decay = of_log.to(decay.dtype) if decay is not None and wanted else None
    return (*found, of_decay, None if state is None else of_state.to(state.dtype), *(None,) * 7)


_forward.register_autograd(_gradients, setup_context=_setup_context)


@register_flop_formula(torch.ops.unimodal.linear_attention)
def _operations(q: Any, k: Any, v: Any, *rest: Any, out_shape: Any = None, **_options: Any) -> int:
    """Multiplications and additions, so that counters see into the call; arguments are shapes."""
    (rows, heads, queries, width), keys, values = q, k[2], v[3]
    causal = rest[5]
    products = queries * CHUNK * (width + values) if causal else 0
    return 2 * rows * heads * (products + (queries + keys) * width * values)
