"""Windows: cut a lattice of tokens into equal windows and put them together again.

Source: Liu et al. 2021, arXiv:2103.14030, sec. 3.2 (non-overlapping windows keep attention linear in the picture).
Axes: B pictures, Y rows, X columns, W windows a picture, C places of a window, L cells, D width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from unimodal.tokens import Tokens
from unimodal.window_order import WindowOrder, window_order

__all__ = ["from_windows", "join_windows", "split_windows", "to_windows"]


def to_windows(x: Tensor, order: WindowOrder) -> Tensor:
    """Tokens of one lattice (B, L, D) in the places of its windows, (B, W C, D), and 0 where there is no cell.

    Cost: one copy.
    """
    x = F.pad(x, (0, 0, 0, 1)) if order.filled else x
    return x.index_select(1, torch.from_numpy(order.cells).to(x.device))


def from_windows(x: Tensor, order: WindowOrder) -> Tensor:
    """The inverse of :func:`to_windows`: (B, W C, D) to (B, L, D)."""
    return x.index_select(1, torch.from_numpy(order.homes).to(x.device))


def split_windows(tokens: Tokens, size: tuple[int, int]) -> Tokens:
    """Each window as a sequence of its own, (B W, rows columns, D); a border that is too short repeats its last cells.

    Args:
        tokens: A uniform batch without prefix on a 2-D lattice.
        size: Window (rows, columns) in tokens.

    Raises:
        ValueError: the batch is packed or padded, has a prefix, or its lattice is not 2-D.
    """
    side = tokens.side.honour()
    if side.grid is None or len(side.grid) != 2 or side.prefix:
        raise ValueError(f"windows need one 2-D lattice without prefix, not grid={side.grid}, prefix={side.prefix}")
    cut = to_windows(tokens.x, window_order(side.grid, size, (0, 0), "repeated"))
    return tokens.replace(
        cut.reshape(-1, size[0] * size[1], cut.shape[-1]), grid=size, positions=None, size=None, score=None
    )


def join_windows(x: Tensor, size: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """The inverse of :func:`split_windows`: (B W, rows columns, D) to (B, D, Y, X) of the lattice ``grid``."""
    order = window_order(grid, size, (0, 0), "repeated")
    return from_windows(x.reshape(-1, len(order.cells), x.shape[-1]), order).mT.unflatten(-1, grid)
