"""Level waves: positions of the cells of several lattices, as waves over the share of the picture before them.

Source: Carion et al. 2020, arXiv:2005.12872, appendix A.4, as in the released code, github.com/facebookresearch/detr,
models/position_encoding.py (PositionEmbeddingSine with normalize).
Axes: N cells of all levels, D width.
"""

import math

import torch
from torch import Tensor

__all__ = ["level_waves"]


def level_waves(
    levels: tuple[tuple[int, int], ...], dim: int, *, base: float = 10_000.0, device: torch.device | None = None
) -> Tensor:
    """[w(2 pi y), w(2 pi x)] for each cell, w(c) = (sin c b_0, cos c b_0, sin c b_1, ...), b_k = base^(-4 k / D).

    x and y are how many cells of the row or column end with this one, as a share of all: the last of n has n / (n +
    1e-6), so cells of any size that end at one place in the picture have the same y or x there, nearly.

    Args:
        levels: Rows and columns of each lattice, in the order in which they stand end to end.
        dim: D, a multiple of 4.
        base: Longest wavelength over 2 pi.
        device: Where the waves are made.

    Shapes:
        returns (N, D) in float32.

    Raises:
        ValueError: D is not a multiple of 4.
    """
    if dim % 4:
        raise ValueError(f"waves of two axes, each a sine and a cosine, need a multiple of 4 channels, not {dim}")
    pace = base ** (-torch.arange(dim // 4, dtype=torch.float32, device=device) / (dim // 4))

    def of_axis(cells: int) -> Tensor:
        end = torch.arange(1, cells + 1, dtype=torch.float32, device=device)
        angle = (end / (cells + 1e-6) * (2 * math.pi))[:, None] * pace
        return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)

    made = []
    for rows, columns in levels:
        of_rows = of_axis(rows)[:, None].expand(-1, columns, -1)
        of_columns = of_axis(columns)[None].expand(rows, -1, -1)
        made.append(torch.cat([of_rows, of_columns], -1).flatten(0, 1))
    return torch.cat(made)
