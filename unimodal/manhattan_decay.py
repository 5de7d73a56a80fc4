"""Manhattan decay: how much less a token of a lattice counts the further it stands away along rows and columns.

Source: Fan et al. 2024, arXiv:2309.11523, eq. 3 (the distance); rates: github.com/qhfan/RMT,
classfication_release/RMT.py (``RetNetRelPos2d``).
Axes: B rows, N and M tokens, H heads, P lattice axes, O offsets.
"""

import math

import torch
from torch import Tensor

from unimodal.lattice import coordinates, over_tokens
from unimodal.side import Side

__all__ = ["axis_decay", "decay_rates", "lattice_decay"]


def decay_rates(heads: int, initial: float, spread: float) -> tuple[float, ...]:
    """log gamma_h = log(1 - 2^-(initial + spread h / H)), h = 0 .. H - 1: the later a head, the further it sees."""
    return tuple(math.log1p(-(2.0 ** -(initial + spread * h / heads))) for h in range(heads))


def lattice_decay(rates: Tensor, side: Side, rows: int, tokens: int) -> Tensor:
    """rates_h (|x_n - x_m| + |y_n - y_m| + ...), natural log units; to and from prefix tokens it is 0.

    Shapes:
        rates: (H,);  returns (B or 1, H, N, N), of lattices with any number of axes.

    Raises:
        ValueError: the side has no lattice, or it does not fit the tokens.
    """

    def of_grid(grid: tuple[int, ...]) -> Tensor:
        cells = coordinates(grid, rates.device)
        return torch.cat([cells, cells.new_ones(len(cells), 1)], 1)

    placed_BNP = over_tokens(of_grid, side, rows, tokens).to(rates.dtype)
    place, on_lattice = placed_BNP[..., :-1], placed_BNP[..., -1]
    distance_BNM = (place[:, :, None] - place[:, None]).abs().sum(-1)
    distance_BNM = distance_BNM * on_lattice[:, :, None] * on_lattice[:, None]
    return distance_BNM[:, None] * rates[:, None, None]


def axis_decay(rates: Tensor, cells: int) -> Tensor:
    """rates_h |d| by the offsets d = 1 - cells .. cells - 1 along one axis: the diagonals of Toeplitz matrices.

    Shapes:
        rates: (H,);  returns (H, 2 cells - 1).
    """
    offset_O = torch.arange(1 - cells, cells, device=rates.device)
    return rates[:, None] * offset_O.abs()
