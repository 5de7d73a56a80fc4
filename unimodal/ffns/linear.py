"""Linear: one linear map, token by token; a convolution of one cell.

Source: Lin et al. 2013, arXiv:1312.4400, sec. 3.1 (convolutions of 1 x 1); depth-wise and point-wise in turn: Howard et
al. 2017, arXiv:1704.04861, sec. 3.1.
Axes: B batch, N tokens, D width, E output width.
"""

import torch.nn as nn
from torch import Tensor

from unimodal.folding import preceded, scaled
from unimodal.sharing_copy import sharing_copy
from unimodal.side import Side

__all__ = ["Linear"]


class Linear(nn.Module):
    """y = W x + b.

    Args:
        dim: Width D.
        width: E, or None for D.
        bias: Whether there is b.

    Shapes:
        x: (B, N, D);  returns (B, N, E).

    Raises:
        ValueError: the width is not positive.
    """

    writes_anew = True

    def __init__(self, dim: int, *, width: int | None = None, bias: bool = True) -> None:
        super().__init__()
        self.width = dim if width is None else width
        if self.width < 1:
            raise ValueError(f"width must be positive, not {width}")
        self.project = nn.Linear(dim, self.width, bias=bias)
        nn.init.trunc_normal_(self.project.weight, std=0.02)
        if bias:
            nn.init.zeros_(self.project.bias)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        return self.project(x)

    def scaled(self, factor_E: Tensor, shift_E: Tensor) -> "Linear":
        """The map whose output is ``factor_E`` times this one's plus ``shift_E``, both in float64."""
        made = sharing_copy(self)
        made.project = scaled(self.project, factor_E, shift_E)
        return made

    def preceded(self, factor_D: Tensor, shift_D: Tensor) -> "Linear":
        """The map that gives of x what this one gives of ``factor_D`` x + ``shift_D``, both in float64."""
        made = sharing_copy(self)
        made.project = preceded(self.project, factor_D, shift_D)
        return made
