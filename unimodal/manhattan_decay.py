"""Manhattan decay: how much less a token of a lattice counts the further it stands away along rows and columns.

Source: Fan et al. 2024, arXiv:2309.11523, eq. 3 (the distance); rates: github.com/qhfan/RMT,
classfication_release/RMT.py (``RetNetRelPos2d``).
Axes: B rows, N tokens, H heads, O offsets.
"""

import math
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from unimodal.side import Side

__all__ = ["axis_decay", "decay_rates", "lattice_decay"]

# Distances between up to so many cells are made once, a megabyte each at most; all blocks of a stage ask for the same.
_KEPT = 512


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
    apart = of_each[grids[0]][None] if len(grids) == 1 else torch.stack([of_each[grid] for grid in grids])
    return apart[:, None] * rates[:, None, None]


def axis_decay(rates: Tensor, cells: int) -> Tensor:
    """rates_h |d| by the offsets d = 1 - cells .. cells - 1 along one axis: the diagonals of Toeplitz matrices.

    Shapes:
        rates: (H,);  returns (H, 2 cells - 1).
    """
    offset_O = torch.arange(1 - cells, cells, device=rates.device)
    return rates[:, None] * offset_O.abs()


def _distances(grid: tuple[int, ...], prefix: int, tokens: int, exact: bool, like: Tensor) -> Tensor:
    """Between the cells of a lattice, (N, N); 0 to and from the prefix and what stands behind the cells."""
    cells = math.prod(grid)
    behind = tokens - prefix - cells
    if behind < 0 or (exact and behind):
        raise ValueError(f"a lattice {grid} has {cells} cells, but the sequence {tokens - prefix} tokens")
    apart = torch.from_numpy(_between(grid)).to(like.device, like.dtype)
    return F.pad(apart, (prefix, behind, prefix, behind)) if prefix or behind else apart


@torch.compiler.assume_constant_result
def _between(grid: tuple[int, ...]) -> np.ndarray:
    return (_made if math.prod(grid) <= _KEPT else _made.__wrapped__)(grid)


@lru_cache(maxsize=32)
def _made(grid: tuple[int, ...]) -> np.ndarray:
    """|x_n - x_m| + |y_n - y_m| + ..., (L, L) in float32."""
    places = np.stack(np.meshgrid(*(np.arange(n) for n in grid), indexing="ij"), -1).reshape(-1, len(grid))
    return sum((abs(p[:, None] - p) for p in places.T), np.zeros((1, 1))).astype(np.float32)
