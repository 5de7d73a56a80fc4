"""Token picture: all numbers of a sequence's tokens laid out as one grey picture, in front of a core for pictures.

Source: Ding et al. 2024, arXiv:2311.15599 (a series' embedding as a map of one channel); its code
github.com/AILab-CVC/UniRepLKNet, Time-Series/models/Corrformer.py (48 steps of width 768 as 192 x 192).
Axes: B rows, N tokens, D their width, Y X the picture, E width behind the stem.
"""

import math

import torch.nn as nn
from torch import Tensor

from unimodal.cells import tokens_of_cells
from unimodal.part import Part
from unimodal.stems.halving_convolution import HalvingConvolutionStem
from unimodal.tokens import Tokens

__all__ = ["TokenPicture"]


class TokenPicture(nn.Module):
    """core(stem(picture)), the picture's pixels row by row being x_11 .. x_1D, x_21 .. x_ND.

    Y is the largest divisor of N D that is not above its root, so the picture is as square as it can be without a
    pixel to spare, and :meth:`tokens` is the exact inverse. With N = D pixels below one another are one channel at
    successive tokens. Prefix tokens are laid out like the others, and what the sequence had besides is left out.

    Args:
        dim: Width D.
        width: E.
        core: A core of width E that reads lattices, e.g. a pyramid.
        stem: Turns (B, 1, Y, X) into (B, E, rows, columns).

    Shapes:
        tokens: x (B, N, D);  returns what the core makes of the stem's cells, packed where the batch has lengths.

    Raises:
        ValueError: the stem takes other than one channel; a mask, bias, memory or causal order is set.
    """

    def __init__(
        self, dim: int, *, width: int, core: Part, stem: Part = Part(HalvingConvolutionStem, channels=1)
    ) -> None:
        super().__init__()
        self.dim, self.stem, self.core = dim, stem(width), core(width)
        if self.stem.channels != 1:
            raise ValueError(f"stem must take 1 channel, not {self.stem.channels}")
        self.width = getattr(self.core, "width", width)

    def forward(self, tokens: Tokens) -> Tokens:
        side = tokens.side.honour("lengths", "cu_seqlens")
        uniform = side.lengths is None and side.cu_seqlens is None
        rows = tokens.x if uniform else tokens.split()
        made = tokens_of_cells(rows, lambda x_BND: self.stem(self.picture(x_BND)), modality="")
        return self.core(made.replace(modality=side.modality if isinstance(side.modality, str) else None))

    def picture(self, x_BND: Tensor) -> Tensor:
        """The picture (B, 1, Y, X) of sequences of one length."""
        count = x_BND.shape[1] * x_BND.shape[2]
        rows = next(n for n in range(math.isqrt(count), 0, -1) if count % n == 0)
        return x_BND.flatten(1).unflatten(1, (1, rows, count // rows))

    def tokens(self, picture_B1YX: Tensor) -> Tensor:
        """The sequences (B, N, D) whose picture this is."""
        return picture_B1YX.flatten(1).unflatten(1, (-1, self.dim))
