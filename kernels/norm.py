"""Norms of tokens over their channels, and the affine map that is left of a folded one, with a residual in front.

Source: layer: Ba et al. 2016, arXiv:1607.06450, eq. 4; rms: Zhang & Sennrich 2019, arXiv:1910.07467, eq. 4; crms: Jiang
et al. 2023, arXiv:2305.14858, sec. 3; affine: Ioffe & Szegedy 2015, arXiv:1502.03167, alg. 2, line 11.
Axes: ... any leading axes, D channels.

    layer     y = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias
    rms       y = x / sqrt(sum(x^2) / D + eps) * weight + bias
    crms      y = x / sqrt((sum(x^2) + sum(x)^2) / (D + 1) + eps) * weight + bias
    affine    y = x * weight + bias

Tolerance of the fast paths against :func:`reference`, outputs and gradients, relative to the largest value:

    float64 1e-12    float32 5e-6    bfloat16 1e-2    float16 2e-3
"""

import importlib.util

import torch
import torch.nn.functional as F
from torch import Tensor

from unimodal.kernels.dispatch import Choice, Wish, decide
from unimodal.kernels.norm_library import fused
from unimodal.kernels.norm_passes import KINDS, forward

__all__ = ["add_norm", "choose", "norm", "reference"]

LAYER, ADDCMUL, PASSES, TRITON = "torch layer_norm", "torch addcmul", "passes in torch", "triton"
WIDEST = 8192  # channels that one program keeps in registers


def norm(
    x: Tensor,
    kind: str,
    *,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-6,
    implementation: Wish = "auto",
) -> Tensor:
    """Each token normed over its channels, by the equation of ``kind``; statistics in float32 or finer.

    Args:
        kind: ``layer``, ``rms``, ``crms`` or ``affine``.
        eps: Added to the mean square, in squared units of x; affine has none.
        implementation: See :mod:`unimodal.kernels.dispatch`.

    Shapes:
        x: (..., D);  weight, bias: (D,);  returns (..., D) in x's dtype.

    Raises:
        ValueError: an unknown kind; a weight or bias of another shape; or affine without a weight.
        RuntimeError: ``implementation="require"`` and the fast path refuses; or a gradient of a gradient is asked of
            it, which only ``implementation="reference"`` gives.

    Cost: without a gradient two reads and two writes of x in rms (four reads in crms); with one, x and a number a token
    are kept and the backward pass is that of torch's layer norm plus one (in crms two) passes.
    """
    chosen = _chosen(x, kind, weight, bias, implementation)
    if chosen == LAYER:
        return F.layer_norm(x, x.shape[-1:], weight, bias, eps)
    if chosen == ADDCMUL and weight is not None:
        return (x * weight if bias is None else torch.addcmul(bias, x, weight)).to(x.dtype)
    if chosen == TRITON or (chosen == PASSES and _needs_gradient(x, weight, bias)):
        return fused(x, None, weight, bias, kind, eps)[0]
    if chosen == PASSES:
        return forward(x, weight, bias, kind, eps)[0]
    return reference(x, kind, weight=weight, bias=bias, eps=eps)


def add_norm(
    x: Tensor,
    residual: Tensor,
    kind: str,
    *,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-6,
    implementation: Wish = "auto",
) -> tuple[Tensor, Tensor]:
    """s = x + residual and its norm; returns (norm of s, s), in one pass where a Triton kernel runs.

    On a CPU the sum is a pass of its own: a row is still in the cache when the norm reads it. The arguments, errors and
    shapes are those of :func:`norm`; residual has x's shape and dtype, and so has s.
    """
    if residual.shape != x.shape or residual.dtype != x.dtype:
        raise ValueError(
            f"residual must be as x, {tuple(x.shape)} {x.dtype}, not {tuple(residual.shape)} {residual.dtype}"
        )
    if choose(x, kind, added=True, implementation=implementation).implementation == TRITON:
        _check(x, kind, weight, bias)
        return fused(x, residual, weight, bias, kind, eps)
    total = x + residual
    return norm(total, kind, weight=weight, bias=bias, eps=eps, implementation=implementation), total


def reference(
    x: Tensor, kind: str, *, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-6
) -> Tensor:
    """The equations in plain torch; arguments as in :func:`norm`."""
    h = x.to(torch.promote_types(x.dtype, torch.float32))
    if kind == "layer":
        h = h - h.mean(-1, keepdim=True)
    if kind in ("layer", "rms"):
        h = h * torch.rsqrt(h.square().mean(-1, keepdim=True) + eps)
    elif kind == "crms":
        square = h.square().sum(-1, keepdim=True) + h.sum(-1, keepdim=True).square()
        h = h * torch.rsqrt(square / (x.shape[-1] + 1) + eps)
    h = h if weight is None else h * weight
    return (h if bias is None else h + bias).to(x.dtype)


def choose(x: Tensor, kind: str = "rms", *, added: bool = False, implementation: Wish = "auto") -> Choice:
    """Which implementation x gets, and why.

    Torch has a fused kernel for the layer norm and one for affine. Its RMS norm is five passes on a CPU and three
    times slower than its layer norm there; passes that write in place are faster than either.

    Args:
        added: Whether a residual is added in front.
    """
    alone = kind in ("layer", "affine") and not (added and x.is_cuda)
    fast = {"layer": LAYER, "affine": ADDCMUL}[kind] if alone else TRITON if x.is_cuda else PASSES
    refusal = None
    if not x.is_floating_point():
        refusal = f"{x.dtype} is not a floating-point dtype"
    elif not alone and torch.compiler.is_compiling() and implementation == "auto":
        refusal = "the compiler fuses it itself"
    elif fast == TRITON:
        refusal = _refusal_of_triton(x)
    elif fast == PASSES and x.device.type not in ("cpu", "meta"):
        refusal = f"the passes are for the CPU, and x lies on {x.device}"
    return decide(implementation, fast, refusal)


def _refusal_of_triton(x: Tensor) -> str | None:
    if x.dtype == torch.float64:
        return "the kernel keeps its sums in float32, and x is float64"
    if x.shape[-1] > WIDEST:
        return f"{x.shape[-1]} channels do not fit one program's registers ({WIDEST} do)"
    return None if importlib.util.find_spec("triton") else "triton is not installed"


def _chosen(x: Tensor, kind: str, weight: Tensor | None, bias: Tensor | None, implementation: Wish) -> str:
    _check(x, kind, weight, bias)
    return choose(x, kind, implementation=implementation).implementation


def _check(x: Tensor, kind: str, weight: Tensor | None, bias: Tensor | None) -> None:
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    for name, term in (("weight", weight), ("bias", bias)):
        if term is not None and term.shape != x.shape[-1:]:
            raise ValueError(f"{name} must have the shape ({x.shape[-1]},) of x's channels, not {tuple(term.shape)}")
    if kind == "affine" and weight is None:
        raise ValueError("affine is its weight and bias, and weight is None")


def _needs_gradient(*tensors: Tensor | None) -> bool:
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)
