"""Windows: cut a 2-D lattice of tokens into equal windows and put them together again.

Source: Liu et al. 2021, arXiv:2103.14030, sec. 3.2 (non-overlapping windows keep attention linear in the picture).
Axes: B pictures, Y rows, X columns, W windows a picture, D width.
"""

import torch.nn.functional as F
from torch import Tensor

from unimodal.tokens import Tokens

__all__ = ["join_windows", "split_windows"]


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
    below, right = (-n % m for n, m in zip(side.grid, size, strict=True))
    x_BDYX = F.pad(tokens.x.mT.unflatten(-1, side.grid), (0, right, 0, below), mode="replicate")
    cut = x_BDYX.unflatten(3, (-1, size[1])).unflatten(2, (-1, size[0]))
    x = cut.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(0, 2)
    return tokens.replace(x, grid=size, positions=None, size=None)


def join_windows(x: Tensor, size: tuple[int, int], grid: tuple[int, int]) -> Tensor:
    """The inverse of :func:`split_windows`: (B W, rows columns, D) to (B, D, Y, X) of the lattice ``grid``."""
    down, across = (-(-n // m) for n, m in zip(grid, size, strict=True))
    cut = x.unflatten(1, size).unflatten(0, (-1, down, across))
    x_BDYX = cut.permute(0, 5, 1, 3, 2, 4).flatten(4, 5).flatten(2, 3)
    return x_BDYX[..., : grid[0], : grid[1]]
