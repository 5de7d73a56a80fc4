"""Deformable sampling: weighted sums of values that are read between the cells of several lattices, at any places.

Source: Zhu et al. 2020, arXiv:2010.04159, eq. 3; read bilinearly: Dai et al. 2017, arXiv:1703.06211, eq. 3; zeros
outside of a lattice: released code, github.com/fundamentalvision/Deformable-DETR.
Axes: B rows, N queries, M values, H heads, L levels, P points, K head width, R rows of sums.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["deformable_sampling"]


def deformable_sampling(value: Tensor, levels: Sequence[tuple[int, int]], at: Tensor, weight: Tensor) -> Tensor:
    """o[n, h] = sum_lp weight[n, h, l, p] value_l[h](at[n, h, l, p]), value_l read bilinearly, 0 outside its lattice.

    Places are shares of a lattice's width and height: (0, 0) is the outer corner of its first cell, (1, 1) that of its
    last one, so one place is the same in every level. It is ``grid_sample`` of 2 at - 1 without aligned corners.

    A sum over points is one over the four cells around each of them. So the rows of ``value`` are summed as they lie
    in memory, an embedding bag a query and head, and no sampled value is ever written down.

    Args:
        value: Levels end to end, each row by row.
        levels: (rows, columns) of each.
        at: (x, y) of each place.
        weight: Of each place.

    Shapes:
        value: (B, M, H, K);  at: (B, N, H, L, P, 2);  weight: (B, N, H, L, P);  returns (B, N, H, K) in value's dtype.

    Raises:
        ValueError: the levels do not have M cells, or the places are of another number of levels.

    Cost: O(B N H L P K), whatever M.
    """
    B, M, H, K = value.shape
    if sum(math.prod(level) for level in levels) != M or at.shape[3] != len(levels):
        raise ValueError(f"levels {tuple(levels)} do not fit {M} values and places in {at.shape[3]} levels")
    whole = torch.int32 if B * M * H < 2**31 else torch.int64
    dtype = torch.promote_types(value.dtype, torch.float32)
    at, weight = at.to(dtype), weight.to(dtype)

    def of_levels(numbers: Sequence[int]) -> Tensor:
        return torch.tensor(numbers, dtype=whole, device=at.device)[:, None]

    rows_L1, columns_L1 = (of_levels([level[axis] for level in levels]) for axis in (0, 1))
    starts_L1 = of_levels([sum(math.prod(level) for level in levels[:i]) for i in range(len(levels))])
    row_B1111 = torch.arange(B, dtype=whole, device=at.device).view(-1, 1, 1, 1, 1)
    head_H11 = torch.arange(H, dtype=whole, device=at.device).view(-1, 1, 1)
    x, y = at.unbind(-1)
    columns, rows = _around(x, columns_L1), _around(y, rows_L1)
    first = (row_B1111 * M + starts_L1) * H + head_H11
    cells, weights = [], []
    for row, of_row in rows:
        start, of_row = first + row * (columns_L1 * H), of_row * weight
        for column, of_column in columns:
            cells.append(start + column * H)
            weights.append(of_row * of_column)
    cells_RC, weights_RC = (torch.stack(t, -1).flatten(3).flatten(0, 2) for t in (cells, weights))
    table = value.to(dtype).reshape(-1, K)
    summed_RK = F.embedding_bag(cells_RC, table, per_sample_weights=weights_RC, mode="sum")
    return summed_RK.view(B, -1, H, K).to(value.dtype)


def _around(place: Tensor, cells: Tensor) -> list[tuple[Tensor, Tensor]]:
    """The two cells of an axis that a place lies between, each with its share, which is 0 where there is no cell."""
    place = place * cells - 0.5
    low = place.floor()
    share, below = place - low, low.to(cells.dtype)
    found = []
    for cell, part in ((below, 1 - share), (below + 1, share)):
        found.append((cell.clamp(min=0).minimum(cells - 1), part * ((cell >= 0) & (cell < cells))))
    return found
