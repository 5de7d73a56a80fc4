"""The tiled attention as operators of torch: autograd, torch.compile and torch.export see one opaque call.

Source: PyTorch, "Python custom operators" (torch.library.custom_op, register_fake, register_autograd).
Axes: B batch, H heads, N queries, V value width.
"""

from typing import Any

import torch
from torch import Tensor

from unimodal.kernels.rule import Rule
from unimodal.kernels.rule_tiles import Terms, backward, forward

__all__ = ["tiled"]


def tiled(q: Tensor, k: Tensor, v: Tensor, rule: Rule, terms: Terms) -> Tensor:
    """:func:`unimodal.kernels.rule_tiles.forward` with its own backward pass."""
    t = terms
    tensors = (t.before, t.after, t.bias, t.mask, t.lengths, t.cu_seqlens)
    return _forward(q, k, v, *tensors, rule.weights, rule.level, rule.causal, rule.window, rule.scale)


@torch.library.custom_op("unimodal::rule_attention", mutates_args=())
def _forward(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    before: Tensor | None,
    after: Tensor | None,
    bias: Tensor | None,
    mask: Tensor | None,
    lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    weights: str,
    level: float | None,
    causal: bool,
    window: int | None,
    scale: float | None,
) -> Tensor:
    rule = Rule(weights, level, causal, window, scale)
    return forward(q, k, v, rule, Terms(before, after, bias, mask, lengths, cu_seqlens))


@_forward.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, *_rest: Any) -> Tensor:
    return v.new_empty(*q.shape[:3], v.shape[3])


@torch.library.custom_op("unimodal::rule_attention_backward", mutates_args=())
def _backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    before: Tensor | None,
    after: Tensor | None,
    bias: Tensor | None,
    mask: Tensor | None,
    lengths: Tensor | None,
    cu_seqlens: Tensor | None,
    weights: str,
    level: float | None,
    causal: bool,
    window: int | None,
    scale: float | None,
    wanted: list[bool],
) -> list[Tensor]:
    rule = Rule(weights, level, causal, window, scale)
    terms = Terms(before, after, bias, mask, lengths, cu_seqlens)
    found = backward(grad, q, k, v, rule, terms, wanted)
    return [q.new_empty(0) if x is None else x for x in found]


@_backward.register_fake
def _(grad: Tensor, q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> list[Tensor]:
    dtype = torch.promote_types(q.dtype, torch.float32)
    learned = zip(rest[:3], rest[-1], strict=True)
    of_learned = [q.new_empty(0) if t is None or not w else t.new_empty(t.shape, dtype=dtype) for t, w in learned]
    return [*(t.new_empty(t.shape) for t in (q, k, v)), *of_learned]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:9])
    ctx.switches = inputs[9:]


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    tensors = ctx.saved_tensors
    wanted = [bool(need) for need in ctx.needs_input_grad[3:6]]
    found = _backward(grad, *tensors, *ctx.switches, wanted)
    learned = [
        x.to(t.dtype) if t is not None and w else None for x, t, w in zip(found[3:], tensors[3:6], wanted, strict=True)
    ]
    return (*found[:3], *learned, *(None,) * 8)


_forward.register_autograd(_gradients, setup_context=_setup_context)
