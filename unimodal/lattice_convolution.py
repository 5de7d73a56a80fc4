"""Lattice convolution: a convolution over each sequence's lattice, whatever the batch's layout.

Source: depth-wise on the values of an attention: Dong et al. 2022, arXiv:2107.00652, sec. 3.2 (LePE).
Axes: B rows, N tokens, D channels, H heads, V value width, S sequences of one lattice, R prefix tokens, L lattice
cells.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from unimodal.by_lattice import by_lattice
from unimodal.lattice import as_map
from unimodal.side import Side

__all__ = ["convolve_heads", "convolve_lattice"]


def convolve_lattice(convolution: Callable[[Tensor], Tensor], x: Tensor, side: Side) -> Tensor:
    """The convolution's outputs in the places of the lattice's tokens; prefix and padding tokens get 0 and give 0.

    Nothing crosses from one sequence into another.

    Args:
        convolution: Keeps the lattice's sizes.
        side: Says which lattice each sequence has, how long its prefix is and how the batch is laid out.

    Shapes:
        x: (B, N, D);  convolution: (S, D, *grid) to (S, D', *grid);  returns (B, N, D').

    Raises:
        ValueError: the side has no lattice, or it does not fit the tokens.
    """

    def of_group(grid: tuple[int, ...], x_SND: Tensor) -> Tensor:
        y_SLD = convolution(as_map(x_SND[:, side.prefix :], grid)).flatten(2).mT
        ahead = y_SLD.new_zeros(len(y_SLD), side.prefix, y_SLD.shape[2])
        return torch.cat([ahead, y_SLD], 1) if side.prefix else y_SLD

    return by_lattice(of_group, side, x)


def convolve_heads(convolution: Callable[[Tensor], Tensor], v: Tensor, side: Side) -> Tensor:
    """:func:`convolve_lattice` of values, the same for every head.

    Shapes:
        v: (B, H, N, V);  convolution: (S H, V, *grid) to (S H, V, *grid);  returns (B, H, N, V).

    Raises:
        ValueError: as :func:`convolve_lattice`.
    """
    heads = v.shape[1]

    def each(map_SD: Tensor) -> Tensor:
        return convolution(map_SD.unflatten(1, (heads, -1)).flatten(0, 1)).unflatten(0, (-1, heads)).flatten(1, 2)

    around_BND = convolve_lattice(each, v.transpose(1, 2).flatten(2), side)
    return around_BND.unflatten(-1, (heads, -1)).transpose(1, 2)
