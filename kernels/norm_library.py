"""The fused norms as operators of torch: autograd, torch.compile and torch.export see one opaque call.

Source: PyTorch, "Python custom operators" (torch.library.custom_op, register_fake, register_autograd).
Axes: ... any leading axes, D channels.
"""

from typing import Any

import torch
from torch import Tensor

from unimodal.kernels import norm_passes

__all__ = ["fused"]


def fused(
    x: Tensor, residual: Tensor | None, weight: Tensor | None, bias: Tensor | None, kind: str, eps: float
) -> tuple[Tensor, Tensor]:
    """The norm of x + residual, and that sum (x itself without a residual), with a backward pass of its own."""
    y, total, _ = _forward(x, residual, weight, bias, kind, eps)
    return y, x if residual is None else total


@torch.library.custom_op("unimodal::norm", mutates_args=())
def _forward(
    x: Tensor, residual: Tensor | None, weight: Tensor | None, bias: Tensor | None, kind: str, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    if x.is_cuda:
        from unimodal.kernels import norm_triton  # needs triton and a device

        return norm_triton.forward(x, residual, weight, bias, kind, eps)
    total = x if residual is None else x + residual
    y, scale = norm_passes.forward(total, weight, bias, kind, eps)
    return y, x.new_empty(0) if residual is None else total, scale


@_forward.register_fake
def _(x: Tensor, residual: Tensor | None, *_rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    total = x.new_empty(0) if residual is None else x.new_empty(x.shape)
    scale = x.new_empty(*x.shape[:-1], 1, dtype=torch.promote_types(x.dtype, torch.float32))
    return x.new_empty(x.shape), total, scale


@torch.library.custom_op("unimodal::norm_backward", mutates_args=())
def _backward(
    grad: Tensor, grad_total: Tensor | None, total: Tensor, weight: Tensor | None, scale: Tensor, kind: str
) -> tuple[Tensor, Tensor, Tensor]:
    if total.is_cuda:
        from unimodal.kernels import norm_triton

        return norm_triton.backward(grad, grad_total, total, weight, scale, kind)
    of_x, of_weight, of_bias = norm_passes.backward(grad, total, weight, scale, kind)
    return of_x if grad_total is None else of_x.add_(grad_total), of_weight, of_bias


@_backward.register_fake
def _(grad: Tensor, grad_total: Tensor | None, total: Tensor, _weight: Any, scale: Tensor, _kind: str) -> Any:
    channels = [total.new_empty(total.shape[-1], dtype=scale.dtype) for _ in range(2)]
    return total.new_empty(total.shape), *channels


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
    x, residual, weight, bias, ctx.kind, _ = inputs
    _, total, scale = output
    ctx.added, ctx.dtypes = residual is not None, [None if t is None else t.dtype for t in (weight, bias)]
    ctx.mark_non_differentiable(*([scale] if ctx.added else [total, scale]))
    ctx.save_for_backward(total if ctx.added else x, weight, scale)


def _gradients(ctx: Any, grad: Tensor, grad_total: Tensor | None, _scale: Any) -> tuple[Tensor | None, ...]:
    total, weight, scale = ctx.saved_tensors
    found = _backward(grad, grad_total if ctx.added else None, total, weight, scale, ctx.kind)
    of_weight, of_bias = (None if d is None else x.to(d) for x, d in zip(found[1:], ctx.dtypes, strict=True))
    return found[0], found[0] if ctx.added else None, of_weight, of_bias, None, None


_forward.register_autograd(_gradients, setup_context=_setup_context)
