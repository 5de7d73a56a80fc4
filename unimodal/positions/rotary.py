"""Rotary positions: turn pairs of query and key channels by angles that grow with the position.

Source: Su et al. 2021, arXiv:2104.09864, eq. 15-16 and 34; several axes: channels are shared out evenly.
Axes: B batch, H heads, N tokens, K head width, L lattice cells, P lattice axes.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.lattice import coordinates, over_tokens
from unimodal.side import Side

__all__ = ["Rotary"]


class Rotary(nn.Module):
    """(a, b) -> (a cos t - b sin t, a sin t + b cos t), t = c_p base^(-i / n), i = 0 .. n - 1, n = K / (2 P).

    The product of a turned query and a turned key depends on the difference of their positions only. Pairs are
    channel i and i + n of an axis' share (the layout of GPT-NeoX and Llama; the paper pairs neighbours, which is
    the same up to a permutation of channels). Prefix tokens are not turned.

    Args:
        width: Head width K, a multiple of 2 P.
        base: Longest wavelength over 2 pi, in coordinate units.

    Shapes:
        x: (B, H, N, K);  returns (B, H, N, K).

    Raises:
        ValueError: K is not a multiple of 2 P, or the side has neither positions nor a lattice.
    """

    applies_to = "heads"

    def __init__(self, width: int, *, base: float = 10_000.0) -> None:
        super().__init__()
        self.width, self.base = width, base

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        batch, tokens = x.shape[0], x.shape[2]
        if side.positions is not None:
            coordinate = side.positions.float()
        else:
            coordinate = over_tokens(lambda grid: coordinates(grid, x.device), side, batch, tokens)
        axes = coordinate.shape[-1]
        if self.width % (2 * axes):
            raise ValueError(f"head width {self.width} is not a multiple of 2 x {axes} coordinate axes")
        n = self.width // (2 * axes)
        step = torch.arange(n, dtype=torch.float32, device=x.device) / n
        angle_BNPn = coordinate[..., None] * self.base**-step
        cos, sin = (t[:, None].to(x.dtype) for t in (angle_BNPn.cos(), angle_BNPn.sin()))
        a, b = x.unflatten(-1, (axes, 2, n)).unbind(-2)
        turned = [torch.addcmul(a * cos, b, sin, value=-1), torch.addcmul(b * cos, a, sin)]
        return torch.stack(turned, -2).flatten(-3)
