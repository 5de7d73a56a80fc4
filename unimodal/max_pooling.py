"""Max pooling: fewer tokens, each the largest of its neighbours channel by channel.

Source: between a network's first convolution and its first stage: He et al. 2015, arXiv:1512.03385, table 1.
Axes: B rows, N tokens, M tokens after it, D width.
"""

import torch.nn as nn
import torch.nn.functional as F

from unimodal.lattice_shrinking import shrink_lattice
from unimodal.tokens import Tokens

__all__ = ["MaxPooling"]


class MaxPooling(nn.Module):
    """y[p] = max_u x[S p + u], u over a box of K x K with its middle at 0; cells outside do not count.

    Args:
        dim: Width D.
        kernel: K in cells, odd.
        stride: S in cells.

    Shapes:
        tokens: x (B, N, D) on a lattice of two axes;  returns Tokens with x (B, M, D), an axis of n cells having n / S,
            rounded up.

    Raises:
        ValueError: the kernel is even or not positive, or the stride is not positive; the tokens have a prefix or no
            lattice; a mask, bias, memory or causal order is set.
    """

    def __init__(self, dim: int, *, kernel: int = 3, stride: int = 2) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0 or stride < 1:
            raise ValueError(f"kernel must be odd, and kernel and stride positive, not {kernel} and {stride}")
        self.width, self.kernel, self.stride = dim, kernel, stride

    def forward(self, tokens: Tokens) -> Tokens:
        return shrink_lattice(lambda map_BD: F.max_pool2d(map_BD, self.kernel, self.stride, self.kernel // 2), tokens)
