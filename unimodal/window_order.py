"""Window order: which cell of a lattice stands where, when the lattice is turned and cut into equal windows.

Source: Liu et al. 2021, arXiv:2103.14030, sec. 3.2 (cyclic shift and its mask, fig. 4); zeros in front of the turn:
github.com/SwinTransformer/Swin-Transformer-Object-Detection, mmdet/models/backbones/swin_transformer.py; behind it:
github.com/huggingface/pytorch-image-models, models/swin_transformer.py.
Axes: W windows, C places of a window, L cells of the lattice.
"""

from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np
import torch

__all__ = ["WindowOrder", "window_order"]


class WindowOrder(NamedTuple):
    """Indices of a lattice in windows; all arrays are shared and must not be written to.

    Args:
        cells: (W C,) the cell in each place, L where there is none.
        homes: (L,) the place of each cell.
        regions: (W, C) what was near before the turn has one number in a window; None without a turn.
        filled: Whether there is a place without a cell.
    """

    cells: np.ndarray
    homes: np.ndarray
    regions: np.ndarray | None
    filled: bool


@torch.compiler.assume_constant_result
def window_order(
    grid: tuple[int, ...], size: tuple[int, ...], shift: tuple[int, ...], edge: str = "padded"
) -> WindowOrder:
    """Windows of ``size`` in C order, in each its places in C order; the first cell is ``shift`` before them.

    An axis that is no multiple of the window is filled up. ``padded``: empty places are put behind it and turned with
    it. ``turned``: they are put behind it after it was turned. ``repeated``: its last cell stands there too.

    Args:
        grid: Cells along each axis.
        size: Of a window, as many axes.
        shift: Cells by which each axis is turned, at least 0 and below ``size``.
        edge: padded, turned or repeated.
    """
    return _order(grid, size, shift, edge)


@lru_cache(maxsize=64)
def _order(grid: tuple[int, ...], size: tuple[int, ...], shift: tuple[int, ...], edge: str) -> WindowOrder:
    axes = [_axis(n, m, s, edge) for n, m, s in zip(grid, size, shift, strict=True)]
    sources = np.meshgrid(*(source for source, _ in axes), indexing="ij")
    empty = np.any([source == n for source, n in zip(sources, grid, strict=True)], 0)
    inside = tuple(np.minimum(source, n - 1) for source, n in zip(sources, grid, strict=True))
    flat = np.where(empty, prod(grid), np.ravel_multi_index(inside, grid))
    cells, homes = _cut(flat, size).ravel(), np.zeros(prod(grid) + 1, dtype=np.int64)
    homes[cells[::-1]] = np.arange(len(cells))[::-1]  # of a repeated cell the first place
    turned = np.meshgrid(*(region for _, region in axes), indexing="ij")
    regions = _cut(np.ravel_multi_index(turned, [3] * len(grid)), size) if any(shift) else None
    return WindowOrder(cells, homes[:-1], regions, bool(empty.any()))


def _axis(cells: int, window: int, shift: int, edge: str) -> tuple[np.ndarray, np.ndarray]:
    """The cell in each place of one axis (``cells`` where there is none), and which of its three regions it is in."""
    places = np.arange(-(-cells // window) * window)
    end = len(places)
    if edge == "padded":
        source = np.minimum((places + shift) % max(end, 1), cells)
    elif edge == "turned":
        source = np.where(places < cells, (places + shift) % max(cells, 1), cells)
    else:
        source = np.minimum(places, cells - 1)
    region = (places >= end - window).astype(np.int64) + (places >= end - shift)
    return source, region if shift else np.zeros_like(places)


def _cut(values: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Values of every place of the filled lattice as (W, C)."""
    counts = [n // m for n, m in zip(values.shape, size, strict=True)]
    split = values.reshape([n for pair in zip(counts, size, strict=True) for n in pair])
    order = [*range(0, split.ndim, 2), *range(1, split.ndim, 2)]
    return split.transpose(order).reshape(prod(counts), prod(size))
