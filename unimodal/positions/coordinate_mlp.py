"""Coordinate MLP: a token's place in space, through a small network, added to the token.

Source: Pang et al. 2022, arXiv:2203.06604, sec. 3.1 (of the centre of a group of points); its sizes and GELU are those
of the released code.
Axes: B batch, N tokens, D width, P coordinates.
"""

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.lattice import coordinates, over_tokens
from unimodal.places import places
from unimodal.side import Side

__all__ = ["CoordinateMLP"]


class CoordinateMLP(nn.Module):
    """x + W2 gelu(W1 c + b1) + b2, c the token's coordinates; prefix tokens get nothing.

    c is ``side.positions``, or the integers of the lattice where no positions are given. With fewer coordinates than
    P the rest is 0: a plane lies in space.

    Args:
        dim: Width D.
        axes: P.
        hidden: Hidden width.

    Shapes:
        x: (B, N, D);  returns (B, N, D).

    Raises:
        ValueError: there are more coordinates than P, or neither positions nor a lattice.
    """

    applies_to = "tokens"

    def __init__(self, dim: int, *, axes: int = 3, hidden: int = 128) -> None:
        super().__init__()
        self.axes = axes
        self.to_hidden = nn.Linear(axes, hidden)
        self.to_out = nn.Linear(hidden, dim)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        if side.positions is None:
            mapped_BND = over_tokens(lambda grid: self._mapped(coordinates(grid, x.device)), side, *x.shape[:2])
        else:
            front_1N = places(side, x.shape[1], x.device) < side.prefix
            mapped_BND = self._mapped(side.positions).masked_fill(front_1N[..., None], 0.0)
        return x + mapped_BND.to(x.dtype)

    def _mapped(self, coordinate: Tensor) -> Tensor:
        given = coordinate.shape[-1]
        if given > self.axes:
            raise ValueError(f"tokens have {given} coordinates, and this position part takes {self.axes}")
        c = F.pad(coordinate, (0, self.axes - given)).to(self.to_hidden.weight.dtype)
        return self.to_out(F.gelu(self.to_hidden(c)))
