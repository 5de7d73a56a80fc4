"""Manhattan decay: how much less a token of a lattice counts the further it stands away along rows and columns.

Source: Fan et al. 2024, arXiv:2309.11523, eq. 3 (the distance); rates: github.com/qhfan/RMT,
classfication_release/RMT.py (``RetNetRelPos2d``).
Axes: B rows, N tokens, H heads, O offsets.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

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

    uniform = side.grids is None and side.lengths is None
    grids = side.lattices(rows)[:1] if side.grids is None else side.lattices(rows)
    of_each = {grid: _distances(grid, side.prefix, tokens, uniform, rates) for grid in dict.fromkeys(grids)}
    return torch.stack([of_each[grid] for grid in grids])[:, None] * rates[:, None, None]


def axis_decay(rates: Tensor, cells: int) -> Tensor:
    """rates_h |d| by the offsets d = 1 - cells .. cells - 1 along one axis: the diagonals of Toeplitz matrices.

    Shapes:
        rates: (H,);  returns (H, 2 cells - 1).
    """
    offset_O = torch.arange(1 - cells, cells, device=rates.device)
    return rates[:, None] * offset_O.abs()


def _distances(grid: tuple[int, ...], prefix: int, tokens: int, exact: bool, like: Tensor) -> Tensor:
    """Between the cells of a lattice, (N, N); 0 to and from the prefix and what stands behind the cells."""
    cells, apart = math.prod(grid), like.new_zeros(())
    behind = tokens - prefix - cells
    if behind < 0 or (exact and behind):
        raise ValueError(f"a lattice {grid} has {cells} cells, but the sequence {tokens - prefix} tokens")
    for axis, n in enumerate(grid):
        place = torch.arange(n, dtype=like.dtype, device=like.device)
        others = [1] * (len(grid) - 1 - axis)
        apart = apart + (place - place[:, None]).abs().reshape(n, *others, *[1] * axis, n, *others)
    return F.pad(apart.expand(*grid, *grid).reshape(cells, cells), (prefix, behind, prefix, behind))
