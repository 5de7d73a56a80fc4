"""Numbered positions: fixed waves of a cell's number in reading order, sines and cosines in turn, added to tokens.

Source: Vaswani et al. 2017, arXiv:1706.03762, sec. 3.5 (in its interleaved form); one number for all axes of a
picture's lattice: Yuan et al. 2021, arXiv:2101.11986, sec. 3.2.
Axes: B batch, N tokens, D width, L lattice cells.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.lattice import over_tokens
from unimodal.side import Side

__all__ = ["Numbered"]


class Numbered(nn.Module):
    """x_n + e_n, e_n[2 i] = sin((n + first) / base^(2 i / D)), e_n[2 i + 1] = cos of the same.

    The number runs along the last axis first, so the waves of neighbours in another axis are far apart; a core learns
    that for one lattice. Another lattice therefore gets the waves of ``grid``, resampled (2-D bicubically).

    Args:
        dim: Width D.
        grid: The lattice whose cells are numbered.
        first: Number of the first cell (1 where the number 0 is a class token's).
        base: Longest wavelength over 2 pi, in cells.

    Shapes:
        x: (B, N, D);  returns (B, N, D); prefix tokens are unchanged.

    Raises:
        ValueError: the lattice has another number of axes than ``grid``.
    """

    applies_to = "tokens"

    def __init__(self, dim: int, *, grid: tuple[int, ...], first: int = 0, base: float = 10_000.0) -> None:
        super().__init__()
        self.dim, self.grid, self.first, self.base = dim, tuple(grid), first, base

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        return x + over_tokens(lambda grid: self._on(grid, x.device), side, *x.shape[:2]).to(x.dtype)

    def _on(self, grid: tuple[int, ...], device: torch.device) -> Tensor:
        if len(grid) != len(self.grid):
            raise ValueError(f"the numbered lattice is {self.grid}, that of the tokens {grid}")
        cells = 1
        for n in self.grid:
            cells *= n
        number_L1 = torch.arange(self.first, self.first + cells, dtype=torch.float64, device=device)[:, None]
        power = torch.arange(0, self.dim, 2, dtype=torch.float64, device=device) / self.dim
        angle = number_L1 * self.base**-power
        wave_LD = torch.stack([angle.sin(), angle.cos()], -1).flatten(1)[:, : self.dim].float()
        if grid == self.grid:
            return wave_LD
        image_1DL = wave_LD.unflatten(0, self.grid).movedim(-1, 0)[None]
        mode = ("linear", "bicubic", "trilinear")[len(grid) - 1]
        return F.interpolate(image_1DL, size=grid, mode=mode, align_corners=False)[0].flatten(1).T
