"""Lattices: lay out values that belong to a grid's cells like the tokens of a batch.

Axes: B rows, N tokens, S sequences, L lattice cells, P lattice axes, D channels.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from unimodal.side import Side

__all__ = ["as_map", "coordinates", "over_tokens"]


def as_map(x_BND: Tensor, grid: tuple[int, ...]) -> Tensor:
    """The tokens of a lattice as a map (B, D, *grid), a view with the channels last in memory.

    The axes are split before they are moved. Split afterwards, a single row's stride is that of a channel, which tells
    torch's convolutions that the channels are not last, and they copy the map before and after.
    """
    return x_BND.unflatten(1, grid).movedim(-1, 1)


def coordinates(grid: tuple[int, ...], device: torch.device | None = None) -> Tensor:
    """Integer coordinates (L, P) of a lattice's cells in C order, as float32."""
    axes = [torch.arange(n, dtype=torch.float32, device=device) for n in grid]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).flatten(0, -2)


def over_tokens(of_grid: Callable[[tuple[int, ...]], Tensor], side: Side, rows: int, tokens: int) -> Tensor:
    """Values of every token, given those of a lattice's cells; prefix and padding tokens get 0.

    Args:
        of_grid: Maps a lattice to its cells' values (L, D).
        side: Says which lattice each sequence has, how long its prefix is and how the batch is laid out.
        rows: B.
        tokens: N.

    Shapes:
        returns (1, N, D) if all rows have the same values or the batch is packed, else (B, N, D).

    Raises:
        ValueError: the side has no lattice, or a lattice does not have as many cells as its sequence has tokens.
    """
    if side.grid is not None and side.cu_seqlens is None:
        return _fit(of_grid(side.grid), side.prefix, tokens, side.grid, exact=side.lengths is None)[None]
    sequences = rows if side.cu_seqlens is None else len(side.cu_seqlens) - 1
    grids = side.lattices(sequences)
    of_each = {grid: of_grid(grid) for grid in dict.fromkeys(grids)}
    if side.cu_seqlens is None:
        return torch.stack([_fit(of_each[grid], side.prefix, tokens, grid, exact=False) for grid in grids])
    lengths = side.cu_seqlens.diff().tolist()
    fitted = [_fit(of_each[g], side.prefix, n, g, exact=True) for g, n in zip(grids, lengths, strict=True)]
    return torch.cat(fitted)[None]


def _fit(cells: Tensor, prefix: int, tokens: int, grid: tuple[int, ...], *, exact: bool) -> Tensor:
    behind = tokens - prefix - cells.shape[0]
    if behind < 0 or (exact and behind):
        raise ValueError(f"a lattice {grid} has {cells.shape[0]} cells, but the sequence {tokens - prefix} tokens")
    if not prefix and not behind:
        return cells
    return torch.nn.functional.pad(cells, (0, 0, prefix, behind))
