"""Class token readout: the first token stands for its sequence.

Source: Dosovitskiy et al. 2020, arXiv:2010.11929, eq. 4; with a projection: Radford et al. 2021, arXiv:2103.00020.
Axes: S sequences, D width, E output width.
"""

import torch.nn as nn
from torch import Tensor

from unimodal.tokens import Tokens

__all__ = ["ClassToken"]


class ClassToken(nn.Module):
    """z = W x_1 (or x_1 itself) of each sequence.

    Args:
        dim: Width D.
        width: Output width E of a bias-free projection, or None for no projection.

    Shapes:
        tokens: S sequences of width D;  returns (S, E).

    Raises:
        ValueError: the tokens have no prefix, so the first one is no class token.
    """

    def __init__(self, dim: int, *, width: int | None = None) -> None:
        super().__init__()
        self.width = dim if width is None else width
        self.project = nn.Linear(dim, width, bias=False) if width is not None else None

    def forward(self, tokens: Tokens) -> Tensor:
        if tokens.side.prefix < 1:
            raise ValueError("the tokens have no prefix, so there is no class token to read")
        cu = tokens.side.cu_seqlens
        first_SD = tokens.x[:, 0] if cu is None else tokens.x[0, cu[:-1].long()]
        return first_SD if self.project is None else self.project(first_SD)
