"""Farthest-point sampling: each next point is the one farthest from all chosen so far.

Source: Eldar et al. 1997, IEEE Trans. Image Processing 6(9), sec. III; for point clouds Qi et al. 2017,
arXiv:1706.02413, sec. 3.2.
Axes: B clouds, N points, P coordinates, S points chosen.
"""

import torch
from torch import Tensor

__all__ = ["farthest_points"]


def farthest_points(points: Tensor, count: int, *, start: int | None = None) -> Tensor:
    """i_s = argmax_n min_{t < s} |p_n - p_(i_t)|, the lowest n among equals.

    The first s of the result are the result for a count of s, also among the chosen points alone: a cloud laid out in
    this order has the centres of its groups in front. The operator in Point-MAE's released code never chooses a point
    within 0.03 of the origin; this one follows the definition.

    Args:
        points: The clouds.
        count: S, at most N.
        start: The first index; None for the point farthest from the cloud's centroid (the lowest index among equals),
            which does not depend on the order of the points.

    Shapes:
        points: (B, N, P);  returns int64 (B, S).

    Raises:
        ValueError: ``count`` or ``start`` is not among the points.

    Cost: O(B N S P) time, O(B N P) memory.
    """
    clouds, total = points.shape[:2]
    if not 1 <= count <= total:
        raise ValueError(f"count must be 1 to the {total} points there are, not {count}")
    if start is not None and not 0 <= start < total:
        raise ValueError(f"start must be an index below {total}, not {start}")
    with torch.no_grad():
        p_BPN = points.detach().mT.contiguous()
        if start is None:
            chosen_B = (p_BPN - p_BPN.mean(-1, keepdim=True)).square().sum(1).argmax(-1)
        else:
            chosen_B = torch.full((clouds,), start, device=points.device)
        order_BS = torch.empty(clouds, count, dtype=torch.int64, device=points.device)
        gap_BPN, far_BN = torch.empty_like(p_BPN), torch.empty_like(p_BPN[:, 0])
        first_BN, *others_BN = gap_BPN.unbind(1)
        nearest_BN = torch.full_like(far_BN, torch.inf)
        row_B = torch.arange(clouds, device=points.device)
        for s in range(count):
            order_BS[:, s] = chosen_B
            torch.sub(p_BPN, p_BPN[row_B, :, chosen_B, None], out=gap_BPN)
            torch.mul(first_BN, first_BN, out=far_BN)
            for gap_BN in others_BN:
                far_BN.addcmul_(gap_BN, gap_BN)
            torch.minimum(nearest_BN, far_BN, out=nearest_BN)
            chosen_B = nearest_BN.argmax(-1)  # the first of equal ones
    return order_BS
