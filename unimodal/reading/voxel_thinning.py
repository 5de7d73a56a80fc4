"""Voxel thinning: a big cloud reduced to one point a cell, before anything costly looks at it.

Axes: N points, M points kept, L level of the lattice.
"""

import numpy as np

__all__ = ["voxel_thinning"]

LEVELS = 20  # cells a side: 2 to this power


def voxel_thinning(xyz: np.ndarray, least: int) -> np.ndarray:
    """One point of each occupied cell of the coarsest lattice that has ``least`` or more occupied cells.

    The lattice of level L cuts the cube around the points into 2^L cells a side. Halving a cell makes at most eight
    of it, so fewer than 8 ``least`` points are kept, whatever their number, and sparse parts keep theirs, which a
    random subset would lose. A cell's point is the first one along the Morton curve of level 20, and among equals the
    first in the order given.

    Args:
        xyz: The points.
        least: Cells wanted. Where even level 20 has fewer, all of its cells count.

    Shapes:
        xyz: (N, 3) finite;  returns int64 indices (M,), ascending.

    Cost: O(N log N).
    """
    low = xyz.min(0)
    side = float((xyz.max(0) - low).max()) or 1.0
    cells = np.minimum((xyz - low) * (2**LEVELS / side), 2**LEVELS - 1).astype(np.uint64)
    code = _spread(cells[:, 0]) << np.uint64(2) | _spread(cells[:, 1]) << np.uint64(1) | _spread(cells[:, 2])
    order = np.argsort(code, kind="stable")
    differing = code[order][1:] ^ code[order][:-1]
    # A neighbour on the curve lies in another cell of level L if the codes differ in their first 3 L bits.
    for level in range(1, LEVELS + 1):
        new_cell = differing >> np.uint64(3 * (LEVELS - level)) > 0
        if np.count_nonzero(new_cell) + 1 >= least:
            break
    return np.sort(order[np.concatenate([[True], new_cell])])


def _spread(cells: np.ndarray) -> np.ndarray:
    """20 bits with two zeros between any two of them."""
    for shift, mask in (
        (32, 0x1F00000000FFFF),
        (16, 0x1F0000FF0000FF),
        (8, 0x100F00F00F00F00F),
        (4, 0x10C30C30C30C30C3),
        (2, 0x1249249249249249),
    ):
        cells = (cells | cells << np.uint64(shift)) & np.uint64(mask)
    return cells
