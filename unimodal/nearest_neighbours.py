"""Nearest neighbours: for each centre the points of its cloud that lie nearest to it.

Source: groups of a point cloud, Yu et al. 2021, arXiv:2111.14819, sec. 3.1.
Axes: B clouds, N points, G centres, K neighbours, P coordinates.
"""

import torch
from torch import Tensor

__all__ = ["nearest_neighbours"]


def nearest_neighbours(points: Tensor, centres: Tensor, count: int) -> Tensor:
    """The K points with the smallest |p_n - c_g|, nearest first; equal distances in no fixed order.

    Distances come from differences, not from the expanded square, whose rounding would change neighbours. A cloud of
    fewer than K points gives all of them, and its nearest again in the places that are left: a maximum over a group
    does not see what it has twice.

    Args:
        points: The clouds.
        centres: Any places, usually some of the points.
        count: K.

    Shapes:
        points: (B, N, P);  centres: (B, G, P);  returns int64 (B, G, K).

    Raises:
        ValueError: ``count`` is not positive.

    Cost: O(B G N P) time, O(B G N) memory.
    """
    if count < 1:
        raise ValueError(f"count must be positive, not {count}")
    with torch.no_grad():
        squared_BGN = torch.zeros((), dtype=points.dtype, device=points.device)
        for c_BG, p_BN in zip(centres.unbind(-1), points.unbind(-1), strict=True):
            gap_BGN = c_BG[:, :, None] - p_BN[:, None].contiguous()
            squared_BGN = squared_BGN + gap_BGN.square_()
        nearest = squared_BGN.topk(min(count, points.shape[1]), largest=False).indices
    if nearest.shape[-1] < count:
        again = nearest[..., :1].expand(*nearest.shape[:-1], count - nearest.shape[-1])
        nearest = torch.cat([nearest, again], -1)
    return nearest
