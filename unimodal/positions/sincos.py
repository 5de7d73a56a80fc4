"""Sine-cosine positions: fixed waves of geometrically spaced lengths along each lattice axis, added to tokens.

Source: Vaswani et al. 2017, arXiv:1706.03762, sec. 3.5, in the concatenated form (all sines, then all cosines);
several axes: channels are shared out evenly, as in He et al. 2021, arXiv:2111.06377, appendix A.
Axes: B batch, N tokens, D width, L lattice cells, P lattice axes.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.lattice import coordinates, over_tokens
from unimodal.places import places
from unimodal.side import Side

__all__ = ["SinCos"]


class SinCos(nn.Module):
    """x + concat_p [sin(c_p w), cos(c_p w)], w_i = base^(-i / n), i = 0 .. n - 1, n = D / (2 P).

    Without parameters, so any lattice and any number of axes works; continuous
    coordinates (``side.positions``) are used instead of the lattice's integers where they are given. Where 2 P does
    not divide D, n is rounded down and the last channels get nothing.

    Args:
        dim: Width D, at least 2 P.
        base: Longest wavelength over 2 pi, in coordinate units.

    Shapes:
        x: (B, N, D);  returns (B, N, D); prefix tokens are unchanged.

    Raises:
        ValueError: D is less than 2 P, or the side has neither positions nor a lattice.
    """

    applies_to = "tokens"

    def __init__(self, dim: int, *, base: float = 10_000.0) -> None:
        super().__init__()
        self.dim, self.base = dim, base

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        if side.positions is not None:
            wave = self._waves(side.positions)
            if side.prefix:
                front_1N = places(side, x.shape[1], x.device) < side.prefix
                wave = wave.masked_fill(front_1N[..., None], 0.0)
        else:
            wave = over_tokens(lambda grid: self._waves(coordinates(grid, x.device)), side, *x.shape[:2])
        return x + wave.to(x.dtype)

    def _waves(self, coordinate: Tensor) -> Tensor:
        axes = coordinate.shape[-1]
        if self.dim < 2 * axes:
            raise ValueError(f"dim {self.dim} is less than 2 x {axes} coordinate axes")
        n = self.dim // (2 * axes)
        step = torch.arange(n, dtype=torch.float32, device=coordinate.device) / n
        angle = coordinate.float()[..., None] * self.base**-step
        wave = torch.cat([angle.sin(), angle.cos()], -1).flatten(-2)
        return F.pad(wave, (0, self.dim - wave.shape[-1]))
