"""Without memory: a part of a block in which tokens see one another alone, whatever the block has to read.

Source: Vaswani et al. 2017, arXiv:1706.03762, sec. 3.1 (a decoder's layer: attention among its own tokens beside
that to the memory).
Axes: B rows, N tokens, D width.
"""

import torch.nn as nn
from torch import Tensor

from unimodal.part import Part
from unimodal.side import Side

__all__ = ["WithoutMemory"]


class WithoutMemory(nn.Module):
    """y = part(x), without the memory and the mask and bias that are over its tokens.

    A decoder's block is a chain: a block that reads the memory, and in front of it or behind it one without. Where
    there is no memory, mask and bias are over the tokens themselves and stay.

    Args:
        dim: Width D.
        part: A mixer or a block.

    Shapes:
        x: (B, N, D);  returns (B, N, D).
    """

    def __init__(self, dim: int, *, part: Part) -> None:
        super().__init__()
        self.part = part(dim)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        return self.part(x, side if side.memory is None else side.replace(memory=None, mask=None, bias=None))
