"""By lattice: apply a map to the sequences of a batch, those of one lattice together, whatever the batch's layout.

Axes: B rows, N tokens, S sequences of one lattice, R prefix tokens, L lattice cells.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from unimodal.side import Side

__all__ = ["by_lattice"]


def by_lattice(of_group: Callable[..., Tensor], side: Side, *tensors: Tensor) -> Tensor:
    """What ``of_group`` makes of each sequence, in the place of its tokens; padding gets 0.

    Args:
        of_group: Maps a lattice and a group of sequences of every tensor, (S, R + L, ...) each, to (S, R + L, ...).
            A uniform batch is one group, a mixed one has a group a distinct lattice; a sequence without tokens has
            none.
        side: Says which lattice each sequence has, how long its prefix is and how the batch is laid out.
        tensors: With the axes (B, N, ...).

    Shapes:
        returns (B, N, ...), the axes behind N from ``of_group``.

    Raises:
        ValueError: the side has no lattice, or lattices and prefixes do not have as many tokens as the batch.

    Cost: a copy of each tensor where the batch is packed or padded; nothing is read from the device.
    """
    rows, tokens = tensors[0].shape[:2]
    if side.cu_seqlens is None and side.lengths is None and side.grids is None:
        (grid,) = dict.fromkeys(side.lattices(1))
        _check(side.prefix + math.prod(grid), tokens, grid)
        return of_group(grid, *tensors)
    packed = side.cu_seqlens
    grids = side.lattices(rows if packed is None else len(packed) - 1)
    sizes = [side.prefix + math.prod(grid) for grid in grids]
    if packed is not None:
        _check(sum(sizes), tokens, grids)
    elif max(sizes, default=0) > tokens:
        raise ValueError(f"the lattices {grids} behind {side.prefix} prefix tokens do not fit into {tokens} tokens")
    starts = [sum(sizes[:i]) for i in range(len(sizes))] if packed is not None else [i * tokens for i in range(rows)]
    flat, out = [t.flatten(0, 1) for t in tensors], None
    for grid in dict.fromkeys(grid for grid, size in zip(grids, sizes, strict=True) if size):
        own = [start for start, of in zip(starts, grids, strict=True) if of == grid]
        within = torch.arange(side.prefix + math.prod(grid), device=flat[0].device)
        at_SN = torch.tensor(own, device=flat[0].device)[:, None] + within
        made = of_group(grid, *(t[at_SN] for t in flat))
        out = made.new_zeros(rows * tokens, *made.shape[2:]) if out is None else out
        out = out.index_put((at_SN,), made)
    return (flat[-1] if out is None else out).unflatten(0, (rows, tokens))


def _check(needed: int, tokens: int, grids: tuple[object, ...]) -> None:
    if needed != tokens:
        raise ValueError(f"lattices {grids} with their prefixes have {needed} tokens, and the batch has {tokens}")
