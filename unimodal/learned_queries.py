"""Learned queries: what a decoder's queries are and where, before they have seen the picture.

Source: Carion et al. 2020, arXiv:2005.12872, sec. 3.2 (object queries); learned features beside learned positions:
Cheng et al. 2021, arXiv:2112.01527, sec. 3.2.2.
Axes: B pictures, N queries, D width, M cells.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.side import Side
from unimodal.tokens import Tokens

__all__ = ["LearnedQueries"]


class LearnedQueries(nn.Module):
    """N vectors of features and N of positions, the same for all pictures.

    Args:
        dim: Width D.
        count: N.

    Shapes:
        fine: x (B, M, E), any width;  returns x (B, N, D) with side.positions (B, N, D).

    Raises:
        ValueError: count is not positive; a task is given, which these queries do not read.
    """

    def __init__(self, dim: int, *, count: int) -> None:
        super().__init__()
        if count < 1:
            raise ValueError(f"count must be positive, not {count}")
        self.features, self.positions = (nn.Parameter(torch.randn(count, dim)) for _ in range(2))

    def forward(self, fine: Tokens, task: Tensor | None = None) -> Tokens:
        if task is not None:
            raise ValueError("these queries are the same for all tasks; task must be None")
        features, positions = (part.expand(len(fine.x), -1, -1) for part in (self.features, self.positions))
        return Tokens(features, Side(positions=positions))
