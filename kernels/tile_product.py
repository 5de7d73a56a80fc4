"""Products of a tile's matrices: one head through oneDNN's kernels, or several heads at once through torch's own.

Source: Intel oneDNN developer guide, "Matrix Multiplication" and "Eltwise" (attribute post-ops).
Axes: H heads (of a tile), R rows, I inputs, O outputs.

Measured on an AMD EPYC with AVX-512, one thread, 256 x 64 by 64 x 1024 in float32: 97 GF/s against 54 GF/s of torch.bmm
(MKL). A call costs about 10 us whatever its size, so small tiles go several heads at once instead.
"""

import torch
from torch import Tensor

__all__ = ["FUSED", "one_head_at_a_time", "product"]

FUSED = ("sigmoid",)  # functions of a weight rule that oneDNN applies while the product is in registers

# Cells of a head's tile from which a call for each head is the faster way; bfloat16 has a fast product for many heads.
FEWEST_CELLS = {torch.float32: 160 * 160, torch.bfloat16: 256 * 256}


def one_head_at_a_time(dtype: torch.dtype, cells: int) -> bool:
    """Whether tiles of so many cells a head should be made head by head: oneDNN is there and pays."""
    if dtype not in FEWEST_CELLS or not torch.backends.mkldnn.is_available():
        return False
    return cells >= FEWEST_CELLS[dtype]


def product(x: Tensor, w: Tensor, *, one_head: bool, bias: Tensor | None = None, function: str = "none") -> Tensor:
    """f(x w^T + b), in x's dtype, in a new tensor.

    Args:
        one_head: Whether to go through oneDNN, as :func:`one_head_at_a_time` says; then H = 1, and each matrix or its
            transpose is contiguous (from other strides the kernel is slower by orders).
        bias: (O,); only with one head.
        function: One of :data:`FUSED`, only with one head, or ``none``.

    Shapes:
        x: (H, R, I);  w: (H, O, I);  returns (H, R, O).
    """
    if not one_head:
        return torch.bmm(x, w.mT)
    return torch.ops.mkldnn._linear_pointwise(x[0], w[0], bias, function, [], "")[None]
