"""Shifted windows: a mixer inside of equal windows of the lattice, which a cyclic shift moves from block to block.

Source: Liu et al. 2021, arXiv:2103.14030, sec. 3.2; which lattices are not shifted: github.com/microsoft/
Swin-Transformer, models/swin_transformer.py; zeros at the edge: :mod:`unimodal.window_order`.
Axes: B rows, N tokens, D width, S sequences of one lattice, R prefix tokens, L lattice cells, W windows, C places of a
window.
"""

from functools import lru_cache, partial
from math import prod
from typing import Any

import numpy as np
import torch
import torch.nn as nn
from torch import Tensor

from unimodal.by_lattice import by_lattice
from unimodal.part import Part
from unimodal.side import Side
from unimodal.window_order import window_order
from unimodal.windows import from_windows, to_windows

__all__ = ["ShiftedWindows"]

_KEPT = 1 << 20  # numbers of a lattice's seams up to which they are kept for the next call


class ShiftedWindows(nn.Module):
    """y = turned back(joined(mixer(window)) over the windows of (turned x)), x turned by ``shift`` along each axis.

    Each window is a sequence of its own for the mixer, with the window as its lattice. After a turn the last window
    along an axis holds cells from both ends of the lattice; the mixer then gets a bias of -inf between what was not
    near before, which its attention must take. Blocks that cut at 0 and at half a window in turn connect all cells.

    Where the lattice is no multiple of the window, zeros fill it up, and they are seen as tokens are: the paper's code
    and all of its relatives do so. ``edge`` says whether zeros are put behind the lattice before it is turned
    (``padded``: the paper's code for dense tasks, transformers, torchvision) or after (``turned``: timm). Seams are
    counted from the end of the zeros, so that under ``turned`` a ragged edge leaves some of them open, as in timm. A
    lattice smaller than the window is filled up too.

    Prefix tokens are off the lattice: they get 0 and give nothing.

    Args:
        dim: Width D.
        mixer: Mixes the tokens of a window.
        window: Cells of a window along each axis; one number for two axes.
        shift: Cells by which the lattice is turned, below ``window``; one number for all axes.
        unshifted: What is not turned: ``axis``: an axis that fits into one window (torchvision). ``either``: a lattice
            with such an axis (the paper's code, transformers). ``never``: nothing is left as it is (timm).
        edge: ``padded`` or ``turned``.

    Shapes:
        x: (B, N, D) on a lattice with the window's axes;  returns (B, N, D).

    Raises:
        ValueError: the window is not positive or the shift not below it; an unknown ``unshifted`` or ``edge``; the side
            has no lattice with as many axes; a mask, bias, memory or causal order is set; what the mixer refuses.

    Cost: two copies of x and the mixer's cost on N / C sequences of C tokens: linear in N.
    """

    def __init__(
        self,
        dim: int,
        *,
        mixer: Part,
        window: int | tuple[int, ...] = 7,
        shift: int | tuple[int, ...] = 0,
        unshifted: str = "either",
        edge: str = "padded",
    ) -> None:
        super().__init__()
        self.window = (window, window) if isinstance(window, int) else tuple(window)
        self.shift = (shift,) * len(self.window) if isinstance(shift, int) else tuple(shift)
        pairs = list(zip(self.window, self.shift, strict=False))
        if len(self.window) != len(self.shift) or any(m < 1 or not 0 <= s < m for m, s in pairs):
            raise ValueError(f"window must be positive and shift in 0..window - 1, not {window} and {shift}")
        if unshifted not in ("axis", "either", "never"):
            raise ValueError(f"unshifted must be 'axis', 'either' or 'never', not {unshifted!r}")
        if edge not in ("padded", "turned"):
            raise ValueError(f"edge must be 'padded' or 'turned', not {edge!r}")
        self.unshifted, self.edge = unshifted, edge
        self.mixer = mixer(dim)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        side.honour("lengths", "cu_seqlens")
        return by_lattice(partial(self._of_group, side.prefix), side, x)

    def _of_group(self, prefix: int, grid: tuple[int, ...], x_SND: Tensor) -> Tensor:
        if len(grid) != len(self.window):
            raise ValueError(f"the window {self.window} needs a lattice with as many axes, not {grid}")
        if prefix:
            y_SLD = self._of_group(0, grid, x_SND[:, prefix:])
            return torch.cat([torch.zeros_like(x_SND[:, :prefix]), y_SLD], 1)
        if grid == self.window and not any(self._shift(grid)):
            return self.mixer(x_SND, Side(grid=grid))
        turn = (grid, self.window, self._shift(grid), self.edge)
        order, bias = window_order(*turn), _seams(turn, x_SND) if any(turn[2]) else None
        cut_SWCD = to_windows(x_SND, order).unflatten(1, (-1, prod(self.window)))
        y_QCD = self.mixer(cut_SWCD.flatten(0, 1), Side(grid=self.window, bias=bias))
        return from_windows(y_QCD.reshape(len(x_SND), -1, y_QCD.shape[-1]), order)

    def _shift(self, grid: tuple[int, ...]) -> tuple[int, ...]:
        fits = [n <= m for n, m in zip(grid, self.window, strict=True)]
        if self.unshifted == "axis":
            return tuple(0 if fit else s for fit, s in zip(fits, self.shift, strict=True))
        return (0,) * len(grid) if self.unshifted == "either" and any(fits) else self.shift


def _seams(turn: tuple[Any, ...], like: Tensor) -> Tensor:
    """-inf between cells that were not near before the turn, (S W, 1, C, C) for the windows of each sequence."""
    bias = torch.from_numpy(_apart(turn)).to(like.device, like.dtype)
    return bias.repeat(len(like), 1, 1, 1) if len(like) > 1 else bias


@torch.compiler.assume_constant_result
def _apart(turn: tuple[Any, ...]) -> np.ndarray:
    return (_made if prod(turn[0]) * prod(turn[1]) <= _KEPT else _made.__wrapped__)(*turn)


@lru_cache(maxsize=32)
def _made(*turn: Any) -> np.ndarray:
    """-inf between places of different regions and else 0, (W, 1, C, C) in float32."""
    regions_WC: Any = window_order(*turn).regions
    apart_WCC = regions_WC[:, :, None] != regions_WC[:, None]
    return np.where(apart_WCC, np.float32("-inf"), np.float32(0.0))[:, None]
