"""Cells: lattices of feature vectors as tokens, and tokens of one linear projection back as what was projected.

Axes: B inputs, C channels, ... the axes of a lattice, D width, N tokens, K values of a patch, S tokens of all inputs.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from unimodal.side import Side
from unimodal.tokens import Tokens

__all__ = ["projected_from", "tokens_of_cells"]


def tokens_of_cells(
    data: Tensor | Sequence[Tensor], embed: Callable[[Tensor], Tensor], *, modality: str, causal: bool = False
) -> Tokens:
    """One token a lattice cell, in C order; inputs of different sizes become one packed row.

    Inputs of one size are embedded together, so a mixed batch costs a call of ``embed`` for each size.

    Args:
        data: One tensor for all inputs, or one tensor an input when their sizes differ.
        embed: Maps (b, ...) of one size to cells (b, D, *grid).
        modality: Of the tokens.
        causal: See :class:`unimodal.side.Side`.

    Shapes:
        data: (B, ...) or B times (...);  returns (B, N, D) with side.grid, or packed (1, S, D) with side.grids.
    """
    if isinstance(data, Tensor):
        cells = embed(data)
        return Tokens(_rows(cells), Side(grid=tuple(cells.shape[2:]), modality=modality, causal=causal))
    by_size: dict[tuple[int, ...], list[int]] = {}
    for index, item in enumerate(data):
        by_size.setdefault(tuple(item.shape), []).append(index)
    rows: list[Tensor] = [torch.empty(0)] * len(data)
    grids: list[tuple[int, ...]] = [()] * len(data)
    for indices in by_size.values():
        cells = embed(torch.stack([data[i] for i in indices]))
        for i, x_ND in zip(indices, _rows(cells), strict=True):
            rows[i], grids[i] = x_ND, tuple(cells.shape[2:])
    x = torch.cat(rows)[None]
    ends = torch.tensor([0, *accumulate(len(row) for row in rows)], dtype=torch.int32, device=x.device)
    return Tokens(x, Side(grids=tuple(grids), cu_seqlens=ends, modality=modality, causal=causal))


def projected_from(x_ND: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The values whose projection ``x = W values + b`` is, by the pseudo-inverse, in float64.

    Args:
        weight: W; axes behind the first are the values' (a convolution's kernel), flattened.

    Shapes:
        x_ND: (N, D);  weight: (D, ...) with K values in all;  returns (N, K).

    Raises:
        ValueError: W has fewer independent outputs than inputs, so different values have the same projection.
    """
    w_DK = weight.detach().double().flatten(1)
    needed, rank = w_DK.shape[1], int(torch.linalg.matrix_rank(w_DK))
    if rank < needed:
        raise ValueError(
            f"the projection of patches is not invertible: {needed} values became {w_DK.shape[0]} numbers "
            f"of rank {rank}; it needs a width of at least {needed}"
        )
    x_ND = x_ND.detach().double() - (0 if bias is None else bias.detach().double())
    return x_ND @ torch.linalg.pinv(w_DK).mT


def _rows(cells: Tensor) -> Tensor:
    return cells.flatten(2).mT.contiguous()
