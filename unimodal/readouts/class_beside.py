"""Class beside: a readout of the lattice, with which one of the class token is trained.

Source: Li et al. 2022, arXiv:2201.09450, its code github.com/Sense-X/UniFormer, image_classification/engine_light.py
(half the loss each) and models/uniformer_light.py (in use the lattice alone).
Axes: S sequences, N tokens, D width, E output width.
"""

from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.part import Part
from unimodal.readouts.class_token import ClassToken
from unimodal.tokens import Tokens

__all__ = ["ClassBeside"]


class ClassBeside(nn.Module):
    """z = readout(lattice tokens). While training each sequence's z is that or beside(all tokens), drawn evenly.

    So the expected loss is half of either's, as in the released code, which adds the two up. It teaches a class token
    to look at what matters, although its own answer is not used.

    Args:
        dim: Width D.
        readout: Of the tokens without their prefix.
        beside: Of the tokens with it.

    Shapes:
        tokens: S sequences of width D;  returns (S, E).

    Raises:
        ValueError: the tokens have no prefix, so there is no class token; what the readouts refuse.
    """

    def __init__(self, dim: int, *, readout: Part, beside: Part = Part(ClassToken)) -> None:
        super().__init__()
        self.readout: Any = readout(dim)
        self.beside: Any = beside(dim)
        self.width = getattr(self.readout, "width", dim)

    def forward(self, tokens: Tokens) -> Tensor:
        if tokens.side.prefix < 1:
            raise ValueError("the tokens have no prefix, so there is no class token beside the lattice")
        z_SE = self.readout(tokens.lattice())
        if not self.training:
            return z_SE
        drawn_S1 = torch.rand(len(z_SE), 1, device=z_SE.device) < 0.5
        return torch.where(drawn_S1, self.beside(tokens), z_SE)
