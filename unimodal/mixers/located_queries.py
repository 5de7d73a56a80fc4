"""Located queries: tokens ask for one another from their positions, and positions are no part of what is read.

Source: Zhu et al. 2020, arXiv:2010.04159, in its released code, github.com/fundamentalvision/Deformable-DETR,
models/deformable_transformer.py (DeformableTransformerEncoderLayer).
Axes: B rows, N tokens, D width.
"""

import torch.nn as nn
from torch import Tensor

from unimodal.part import Part
from unimodal.side import Side
from unimodal.tokens import Tokens

__all__ = ["LocatedQueries"]


class LocatedQueries(nn.Module):
    """y = mixer(x + p, memory = x), p the ``positions`` of the tokens, D numbers a token here.

    For mixers whose queries alone say what is read, such as :class:`~unimodal.mixers.deformable.Deformable`; where keys
    have positions too it is :class:`~unimodal.mixers.located.Located`. Without positions nothing is added.

    Args:
        dim: Width D.
        mixer: Reads a memory.

    Shapes:
        x: (B, N, D);  side.positions: (B, N, D) or (1, N, D);  returns (B, N, D).

    Raises:
        ValueError: positions are not as wide as the tokens; a constraint is set; what the mixer refuses.
    """

    def __init__(self, dim: int, *, mixer: Part) -> None:
        super().__init__()
        self.mixer = mixer(dim)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        side.honour()
        at = side.positions
        if at is not None and at.shape[-1] != x.shape[-1]:
            raise ValueError(f"positions are added to tokens of width {x.shape[-1]}, not {at.shape[-1]}")
        alone = side.replace(positions=None)
        return self.mixer(x if at is None else x + at, alone.replace(memory=Tokens(x, alone)))
