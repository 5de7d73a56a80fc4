"""Behind: a readout of tokens that went through further parts first.

Source: a norm of the whole map in front of the average: Li et al. 2022, arXiv:2201.09450, and its code
github.com/Sense-X/UniFormer, image_classification/models/uniformer.py; maps in front of it: Fan et al. 2024,
arXiv:2309.11523, and its code github.com/qhfan/RMT, classfication_release/RMT.py.
Axes: S sequences, D width, E output width.
"""

from typing import Any

import torch.nn as nn
from torch import Tensor

from unimodal.chain import Chain
from unimodal.part import Part
from unimodal.tokens import Tokens

__all__ = ["Behind"]


class Behind(nn.Module):
    """z = readout(f_n(... f_1(x))). The features of a network stay as its last stage made them, without these parts.

    Args:
        dim: Width D.
        parts: f_1 .. f_n; they may change the width, as in a :class:`~unimodal.chain.Chain`.
        readout: A readout of what they give.

    Shapes:
        tokens: S sequences of width D;  returns (S, E).

    Raises:
        ValueError: no parts; what they and the readout refuse.
    """

    def __init__(self, dim: int, *, parts: tuple[Part, ...], readout: Part) -> None:
        super().__init__()
        self.chain = Chain(dim, parts=parts)
        self.readout: Any = readout(self.chain.width)
        self.width = getattr(self.readout, "width", self.chain.width)

    def forward(self, tokens: Tokens) -> Tensor:
        return self.readout(tokens.replace(self.chain(tokens.x, tokens.side)))
