"""RMS norms on the CPU: forward and backward in passes of torch that write in place.

Source: RMS: Zhang & Sennrich 2019, arXiv:1910.07467, eq. 4; compressed: Jiang et al. 2023, arXiv:2305.14858, sec. 3.
Axes: ... any leading axes, D channels.
"""

import torch
from torch import Tensor

__all__ = ["KINDS", "backward", "forward"]

KINDS = ("layer", "rms", "crms", "affine")


def forward(x: Tensor, weight: Tensor | None, bias: Tensor | None, kind: str, eps: float) -> tuple[Tensor, Tensor]:
    """y = x scale weight + bias of the kinds rms and crms, and the scale of each token, which the backward pass needs.

    A large new tensor costs more in page faults than the arithmetic on it, so there is one, the output. (torch's own
    RMS norm makes four.)

    Shapes:
        x: (..., D);  returns (..., D) in x's dtype and (..., 1) in float32 or finer.
    """
    dtype, width = torch.promote_types(x.dtype, torch.float32), x.shape[-1]
    square = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=dtype).square_()
    if kind == "crms":
        square.add_(x.sum(-1, keepdim=True, dtype=dtype).square_())
        width += 1
    scale = square.div_(width).add_(eps).rsqrt_()
    y = x * scale if weight is None else (scale * weight).mul_(x)  # the product's first pass only writes
    if bias is not None:
        y.add_(bias)
    return y.to(x.dtype), scale


def backward(grad: Tensor, x: Tensor, weight: Tensor | None, scale: Tensor, kind: str) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of x, weight and bias, from torch's fused backward pass of the layer norm.

    That pass, told that the mean was 0 and the scale r, gives with g = grad weight

        d = r (g - mean(g) - r^2 x sum(g x) / D).

    The RMS norm lacks the mean: its gradient is d + r mean(g). In the compressed one D is D + 1 and sum(x) enters:

        r (g - r^2 (x + sum(x)) sum(g x) / (D + 1)).

    With r / k for r and k weight for weight, k^2 = (D + 1) / D, the pass puts D + 1 for D, and as x - mean(x) cancels
    nothing there, sum(d) = -r^3 sum(x) sum(g x) / (D + 1) is just what is missing beside r mean(g).
    """
    dtype, width = scale.dtype, x.shape[-1]
    h, g = x.to(dtype), grad.to(dtype)
    gain = x.new_ones(width, dtype=dtype) if weight is None else weight.to(dtype)
    k = ((width + 1) / width) ** 0.5 if kind == "crms" else 1.0
    of_x, of_weight, of_bias = torch.ops.aten.native_layer_norm_backward(
        g, h, [width], torch.zeros_like(scale), scale / k, gain * k, gain, [True, True, True]
    )
    missing = (g @ gain).unsqueeze(-1).mul_(scale).div_(width)
    if kind == "crms":
        missing.add_(of_x.sum(-1, keepdim=True))
    return of_x.add_(missing).to(x.dtype), of_weight.mul_(k), of_bias
