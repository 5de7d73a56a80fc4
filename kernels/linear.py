"""Affine maps with a weight that is laid out once for the processor's matrix kernel (oneDNN), for inference on CPUs.

Source: Intel oneDNN developer guide, "Matrix Multiplication", weights format ``any`` (a plain row-major weight is
copied into the kernel's blocked layout at every call; a packed one is not) and "Primitive Attributes: Post-ops" (an
activation is applied to the output while it is in the cache).
Axes: ... any leading axes, I inputs, O outputs.

Tolerance of the fast path against :func:`reference`, relative to the largest value:

    float32 5e-6    bfloat16 2e-2
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from unimodal.kernels.dispatch import Choice, Wish, decide

__all__ = ["ACTIVATIONS", "FEWEST", "choose", "linear", "pack", "reference"]

#: Activations that :func:`linear` applies itself, with oneDNN's words for them.
ACTIVATIONS = {
    "gelu": ("gelu", "none"),
    "gelu_tanh": ("gelu", "tanh"),
    "relu": ("relu", ""),
    "silu": ("swish", ""),
    "tanh": ("tanh", ""),
}

#: Multiplications from which the packed map is the faster one; its call costs about 12 us more.
FEWEST = 1 << 19


def pack(weight: Tensor) -> Tensor:
    """The weight (O, I) in the kernel's own layout: an opaque tensor for :func:`linear` only.

    Raises:
        RuntimeError: :func:`choose` refuses the weight; the message holds the reason.
    """
    choose(weight, implementation="require")
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), None)


def linear(x: Tensor, packed: Tensor, bias: Tensor | None, *, activation: str | None = None) -> Tensor:
    """y = act(x W^T + b), without a gradient.

    Args:
        packed: What :func:`pack` made of W.
        activation: A name in :data:`ACTIVATIONS`, or None for none.

    Shapes:
        x: (..., I);  bias: (O,);  returns (..., O) in x's dtype.

    Raises:
        RuntimeError: a gradient is asked for: x or the bias needs one and gradients are on.
        ValueError: an activation that is not in the table.
    """
    if torch.is_grad_enabled() and (x.requires_grad or (bias is not None and bias.requires_grad)):
        raise RuntimeError("a packed linear map has no gradient: use torch.inference_mode, or the model as it was")
    if activation is None:
        return torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {activation!r}")
    word, algorithm = ACTIVATIONS[activation]
    return torch.ops.mkldnn._linear_pointwise(x, packed, bias, word, [], algorithm)


def reference(x: Tensor, weight: Tensor, bias: Tensor | None, *, activation: str | None = None) -> Tensor:
    """The map in plain torch, with the plain weight."""
    y = F.linear(x, weight, bias)
    if activation is None:
        return y
    if activation.startswith("gelu"):
        return F.gelu(y, approximate="tanh" if activation == "gelu_tanh" else "none")
    return {"relu": F.relu, "silu": F.silu, "tanh": torch.tanh}[activation](y)


def choose(weight: Tensor, *, implementation: Wish = "auto") -> Choice:
    """Whether a weight can be packed here, and why."""
    return decide(implementation, "oneDNN with a packed weight", _refusal(weight))


def _refusal(weight: Tensor) -> str | None:
    if weight.device.type != "cpu":
        return f"it lies on {weight.device}, not on the CPU"
    if not torch.backends.mkldnn.is_available():
        return "this torch is built without oneDNN"
    if weight.numel() == 0:
        return "it is empty"
    if weight.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return None
    if weight.dtype == torch.float32:
        return None
    return f"this processor's kernel does not take {weight.dtype}"
