"""Attention under a rule as operators of torch: autograd, torch.compile and torch.export see one opaque call.

Source: PyTorch, "Python custom operators" (torch.library.custom_op, register_fake, register_autograd).
Axes: B batch, H heads, N queries, V value width.

On the processor the operators are the tiles of :mod:`unimodal.kernels.rule_tiles`; on CUDA they are the kernels of
:mod:`unimodal.kernels.rule_triton`, which keep each softmax row's log-sum-exp for the backward pass.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from unimodal.kernels.rule import WEIGHTS, Rule
from unimodal.kernels.rule_tiles import backward, forward
from unimodal.kernels.tile_work import Terms

__all__ = ["gradients", "operations", "tiled"]


def tiled(q: Tensor, k: Tensor, v: Tensor, rule: Rule, terms: Terms) -> Tensor:
    """The tiles or the kernels, with a backward pass of their own."""
    t = terms
    tensors = (t.before, t.after, t.bias, t.mask, t.lengths, t.cu_seqlens)
    return _forward(q, k, v, *tensors, rule.weights, rule.level, rule.causal, rule.window, rule.scale)[0]


def gradients(
    grad: Tensor, out: Tensor, lse: Tensor, tensors: Sequence[Any], switches: Sequence[Any], needed: Sequence[bool]
) -> list[Tensor | None]:
    """The gradients of q, k, v, before, after and bias, each in its own dtype; of the last three where ``needed``.

    Args:
        out: The output, which is read only where there is an ``lse``.
        lse: Of each row, or empty.
        tensors: q, k, v and the six terms, as the operator got them.
        switches: The rule's fields.
    """
    wanted = [bool(need) for need in needed]
    found = _backward(grad, out, lse, *tensors, *switches, wanted)
    learned = zip(found[3:], tensors[3:6], wanted, strict=True)
    return [*found[:3], *(x.to(t.dtype) if t is not None and w else None for x, t, w in learned)]


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
) -> tuple[Tensor, Tensor]:
    rule = Rule(weights, level, causal, window, scale)
    out = forward(q, k, v, rule, Terms(before, after, bias, mask, lengths, cu_seqlens))
    return out, q.new_empty(0, dtype=torch.float32)


@_forward.register_kernel("cuda")
def _(q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    from unimodal.kernels.rule_triton import forward

    return forward(q, k, v, Rule(*rest[6:]), Terms(*rest[:6]))


@_forward.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    kept = q.device.type == "cuda" and WEIGHTS[rest[6]].normalised
    lse = q.new_empty(q.shape[:3] if kept else (0,), dtype=torch.float32)
    return v.new_empty(*q.shape[:3], v.shape[3]), lse


@torch.library.custom_op("unimodal::rule_attention_backward", mutates_args=())
def _backward(
    grad: Tensor,
    out: Tensor,
    lse: Tensor,
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


@_backward.register_kernel("cuda")
def _(grad: Tensor, out: Tensor, lse: Tensor, q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> list[Tensor]:
    from unimodal.kernels.rule_triton_backward import backward

    found = backward(grad, q, k, v, out, lse, Rule(*rest[6:11]), Terms(*rest[:6]), rest[11])
    return [q.new_empty(0) if x is None else x for x in found]


@_backward.register_fake
def _(grad: Tensor, out: Tensor, lse: Tensor, q: Tensor, k: Tensor, v: Tensor, *rest: Any) -> list[Tensor]:
    dtype = torch.promote_types(q.dtype, torch.float32)
    learned = zip(rest[:3], rest[-1], strict=True)
    of_learned = [q.new_empty(0) if t is None or not w else t.new_empty(t.shape, dtype=dtype) for t, w in learned]
    return [*(t.new_empty(t.shape) for t in (q, k, v)), *of_learned]


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    out, lse = output
    ctx.save_for_backward(out if lse.numel() else lse, lse, *inputs[:9])  # without lse, out is not asked for
    ctx.switches = inputs[9:]


def _gradients(ctx: Any, grad: Tensor, _of_lse: Tensor | None) -> tuple[Tensor | None, ...]:
    out, lse, *tensors = ctx.saved_tensors
    return (*gradients(grad, out, lse, tensors, ctx.switches, ctx.needs_input_grad[3:6]), *(None,) * 8)


_forward.register_autograd(_gradients, setup_context=_setup_context)


@register_flop_formula(torch.ops.unimodal.rule_attention)
def operations(q: Any, k: Any, v: Any, *rest: Any, out_shape: Any = None, **_options: Any) -> int:
    """Multiplications and additions, so that counters see into the call; arguments are shapes.

    Of pairs out of a window there are none; causal order and packed sequences count as all pairs.
    """
    (rows, heads, queries, width), keys, (causal, window) = q, k[2], rest[8:10]
    pairs = queries * keys
    if window is not None:
        meets = range(keys - queries, keys)  # where each query stands among the keys
        pairs = sum(max(0, min(keys, at + 1 + (0 if causal else window)) - max(0, at - window)) for at in meets)
    return 2 * rows * heads * pairs * (width + v[3])
