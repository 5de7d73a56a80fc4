"""Lattice shrinking: tokens of a coarser lattice from those of a finer one, whatever the batch's layout.

Source: tokens between the stages of a pyramid: Wang et al. 2021, arXiv:2102.12122, sec. 3.2.
Axes: B rows, N tokens before, M tokens after, D width before, E width after, S sequences of one lattice.
"""

from collections.abc import Callable

from torch import Tensor

from unimodal.cells import tokens_of_cells
from unimodal.lattice import as_map
from unimodal.tokens import Tokens

__all__ = ["shrink_lattice"]


def shrink_lattice(
    shrink: Callable[[Tensor], Tensor], tokens: Tokens, *, behind: Callable[..., Tensor] | None = None
) -> Tokens:
    """What ``shrink`` makes of each sequence's lattice, as tokens in the same layout, padded or packed.

    What a lattice of tokens had besides (positions, sizes) is not that of the new one and is left out.

    Args:
        shrink: Maps lattices of one size to smaller ones.
        tokens: Without a prefix, which would be off the lattice.
        behind: What becomes of each of the new tokens: a norm or another part, called with their side; or None.

    Shapes:
        shrink: (S, D, *grid) to (S, E, *grid');  tokens.x: (B, N, D);  returns Tokens with x (B, M, E).

    Raises:
        ValueError: the tokens have a prefix or no lattice; a mask, bias, memory or causal order is set.
    """
    side = tokens.side.honour("lengths", "cu_seqlens")
    if side.prefix:
        raise ValueError(f"the {side.prefix} prefix tokens are off the lattice and have no place in a smaller one")
    if side.grid is not None and side.lengths is None and side.cu_seqlens is None:
        maps = as_map(tokens.x, side.grid)
    else:
        rows = zip(tokens.split(), side.lattices(tokens.sequences), strict=True)
        maps = [as_map(x_ND[None], grid)[0] for x_ND, grid in rows]
    made = tokens_of_cells(maps, shrink, modality="")
    made = made if side.cu_seqlens is not None or isinstance(maps, Tensor) else made.padded()
    made = made.replace(modality=side.modality if isinstance(side.modality, str) else None)
    return made if behind is None else made.replace(behind(made.x, made.side))
