"""Points of: where the tokens of a batch are in space, whatever their layout says about it.

Axes: B rows, N tokens, R prefix tokens, P coordinates.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from unimodal.lattice import coordinates, over_tokens
from unimodal.masks import keys_within
from unimodal.tokens import Tokens

__all__ = ["points_of"]


def points_of(tokens: Tokens) -> tuple[Tensor, Tensor]:
    """The place of each token behind the prefix, and whether it is a real token or padding.

    Places are ``side.positions``, or the integers of the lattice where no positions are given; with fewer than three
    axes the tokens lie in a plane or on a line.

    Args:
        tokens: A uniform or padded batch.

    Shapes:
        returns (B, N - R, 3), float32 or finer, and boolean (B, N - R).

    Raises:
        ValueError: the batch is packed, there are more than three coordinates, or neither positions nor a lattice.
    """
    x, side = tokens.x, tokens.side
    if side.cu_seqlens is not None:
        raise ValueError("places of a packed batch (cu_seqlens) are not laid out in rows: take tokens.padded()")
    place = side.positions
    if place is None:
        place = over_tokens(lambda grid: coordinates(grid, x.device), side, *x.shape[:2])
    if place.shape[-1] > 3:
        raise ValueError(f"tokens have {place.shape[-1]} coordinates, and space has 3")
    place = place.to(torch.promote_types(place.dtype, torch.float32))
    place_BN3 = F.pad(place, (0, 3 - place.shape[-1])).expand(len(x), -1, -1)[:, side.prefix :]
    if side.lengths is None:
        return place_BN3, place_BN3.new_ones(place_BN3.shape[:2], dtype=torch.bool)
    return place_BN3, keys_within(side.lengths - side.prefix, place_BN3.shape[1])[:, 0, 0]
