"""Convolved waves: sines and cosines of a cell's place as a share of the lattice, mixed by a small convolution.

Source: Tian et al. 2023, arXiv:2212.00776 (ResFormer), global position embedding; github.com/ruitian12/resformer,
``GlobalPosEmbed``; the waves: Carion et al. 2020, arXiv:2005.12872, appendix A.4.
Axes: B batch, N tokens, D width, L lattice cells, Y rows, X columns, n waves an axis.
"""

import math

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.lattice import over_tokens
from unimodal.side import Side

__all__ = ["ConvolvedWaves"]


class ConvolvedWaves(nn.Module):
    """x + conv(w), w = [waves of y, waves of x], where sin(c / s_i) and cos(c / s_i) take turns, c = 2 pi (i + 1) / n.

    Of n cells along an axis, cell i stands at the share (i + 1) / n of it whatever n is, so a lattice of another size
    sees the same waves with other steps: nothing is interpolated. s_i = base^(2 i / (D / 2)). The depth-wise
    convolution is over the lattice, with zeros around it.

    Args:
        dim: Width D, a multiple of 4.
        base: Ratio of the longest wave to the shortest.
        kernel: Side of the convolution (cells), odd.

    Shapes:
        x: (B, N, D) on a lattice of two axes;  returns (B, N, D); prefix tokens are unchanged.

    Raises:
        ValueError: dim is no multiple of 4, ``kernel`` is even, or the side has no lattice of two axes.

    Cost: O(L D kernel^2) for each distinct lattice, however large the batch.
    """

    applies_to = "tokens"

    def __init__(self, dim: int, *, base: float = 10_000.0, kernel: int = 3) -> None:
        super().__init__()
        if dim % 4:
            raise ValueError(f"dim must be a multiple of 4 (sines and cosines of two axes), not {dim}")
        if kernel % 2 == 0:
            raise ValueError(f"kernel must be odd to have a middle, not {kernel}")
        self.base = base
        self.around = nn.Conv2d(dim, dim, kernel, padding=kernel // 2, groups=dim)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        return x + over_tokens(self._of_grid, side, *x.shape[:2]).to(x.dtype)

    def _of_grid(self, grid: tuple[int, ...]) -> Tensor:
        if len(grid) != 2:
            raise ValueError(f"a lattice of two axes is needed here, not {grid}")
        y, x = (self._waves(n) for n in grid)
        waves_DYX = torch.cat([y.mT[:, :, None].expand(-1, -1, grid[1]), x.mT[:, None].expand(-1, grid[0], -1)])
        return self.around(waves_DYX.to(self.around.weight.dtype)).flatten(1).mT

    def _waves(self, cells: int) -> Tensor:
        """(cells, D / 2)."""
        half, device = self.around.in_channels // 2, self.around.weight.device
        place = torch.arange(1, cells + 1, dtype=torch.float32, device=device) / cells * 2 * math.pi
        length = self.base ** (torch.arange(0, half, 2, dtype=torch.float32, device=device) / half)
        angle = place[:, None] / length
        return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)
