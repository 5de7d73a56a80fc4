"""Learned positions: one trained vector a lattice cell, resampled when the input has another lattice.

Source: Dosovitskiy et al. 2020, arXiv:2010.11929, sec. 3.1 and 3.2 (interpolation to another resolution); bilinearly:
Wang et al. 2021, arXiv:2102.12122.
Axes: B batch, N tokens, D width, L lattice cells.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.lattice import over_tokens
from unimodal.side import Side

__all__ = ["Learned"]


class Learned(nn.Module):
    """x + table[cell]; prefix tokens get nothing (their own vectors can hold a position).

    On the table's own lattice the vectors are used as they are. On another one a 2-D table is resampled
    bicubically, or as ``kernel`` says (a 1-D one linearly, a 3-D one trilinearly), with half-pixel centres.

    Args:
        dim: Width D.
        grid: The lattice of the table.
        antialias: Whether a 2-D table is low-pass filtered when it shrinks (timm does, transformers does not).
        resample: Whether another lattice is served by resampling; otherwise a shorter 1-D sequence gets the first
            entries (text) and anything else is refused.
        kernel: How a 2-D table is resampled, ``bicubic`` or ``bilinear``.

    Shapes:
        x: (B, N, D);  returns (B, N, D).

    Raises:
        ValueError: an unknown kernel; the lattice has another number of axes than the table, or does not fit and
            resampling is off.
    """

    applies_to = "tokens"

    def __init__(
        self,
        dim: int,
        *,
        grid: tuple[int, ...],
        antialias: bool = True,
        resample: bool = True,
        kernel: str = "bicubic",
    ) -> None:
        super().__init__()
        if kernel not in ("bicubic", "bilinear"):
            raise ValueError(f"kernel must be 'bicubic' or 'bilinear', not {kernel!r}")
        self.grid, self.antialias, self.resample, self.kernel = tuple(grid), antialias, resample, kernel
        cells = 1
        for n in self.grid:
            cells *= n
        self.table = nn.Parameter(torch.empty(cells, dim))
        nn.init.trunc_normal_(self.table, std=0.02)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        return x + over_tokens(self.on, side, *x.shape[:2]).to(x.dtype)

    def on(self, grid: tuple[int, ...]) -> Tensor:
        """The table on another lattice, (L, D)."""
        if grid == self.grid:
            return self.table
        if len(grid) != len(self.grid):
            raise ValueError(f"the position table has the lattice {self.grid}, the tokens {grid}")
        if not self.resample:
            if len(grid) == 1 and grid[0] <= self.grid[0]:
                return self.table[: grid[0]]
            raise ValueError(f"a sequence of lattice {grid} does not fit the position table {self.grid}")
        mode = ("linear", self.kernel, "trilinear")[len(grid) - 1]
        dtype = torch.promote_types(self.table.dtype, torch.float32)
        image_1DL = self.table.to(dtype).unflatten(0, self.grid).movedim(-1, 0)[None]
        options = {"antialias": self.antialias} if len(grid) == 2 else {}
        resized = F.interpolate(image_1DL, size=grid, mode=mode, align_corners=False, **options)
        return resized[0].flatten(1).T.to(self.table.dtype)
