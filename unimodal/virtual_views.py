"""Virtual views: where the points of a cloud would fall along a line or in a picture, if someone looked from there.

Source: Tang et al. 2024, arXiv:2404.07989 (3D-to-any virtual projection); the turns, the line and the margin are those
of the released code, github.com/Ivan-Tang-3D/Any2Point, models/peft_module/mv_utils.py.
Axes: B clouds, N points, M views, P axes of a view.
"""

import torch
from torch import Tensor

__all__ = ["MOST", "turned", "virtual_views"]

# The axes across, down and ahead of each view: four quarter turns about one axis, then the two sides.
_TURNS = (
    ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
    ((0, -1, 0), (0, 0, -1), (1, 0, 0)),
    ((0, -1, 0), (-1, 0, 0), (0, 0, -1)),
    ((0, -1, 0), (0, 0, 1), (-1, 0, 0)),
    ((0, 0, -1), (1, 0, 0), (0, -1, 0)),
    ((0, 0, 1), (1, 0, 0), (0, 1, 0)),
)
MOST = len(_TURNS)
_LINE = (-(2**-0.5), 0.0, 2**-0.5)  # across, down, ahead
_PICTURE = 0.8  # share of a picture's side that the longest extent of the cloud fills


def turned(points: Tensor, views: int) -> Tensor:
    """The coordinates across, down and ahead of each view, (B, N, 3) to (B, M, N, 3)."""
    turns_M33 = torch.tensor(_TURNS[:views], dtype=points.dtype, device=points.device)
    return points[:, None] @ turns_M33.mT


def virtual_views(points: Tensor, real: Tensor, *, axes: int, views: int = MOST) -> Tensor:
    """Places from 0 to 1 in each view; no pixel is drawn, and what lies behind something else is seen too.

    On a line (1 axis) the cloud fills all of it: t = (s - min s) / (max s - min s), s = (ahead - across) / sqrt 2. In a
    picture (2 axes: down, across) its bounding box is in the middle and its longest extent, of all three axes, fills
    0.8 of the side. A cloud without extent is at 0 of the line, or in the middle of the picture.

    Args:
        points: Coordinates in any unit.
        real: Which of the points there are; others have no influence, and places of their own.
        axes: P, 1 or 2.
        views: M, at most 6.

    Shapes:
        points: (B, N, 3);  real: boolean (B, N);  returns (B, M, N, P).

    Raises:
        ValueError: ``axes`` is neither 1 nor 2, or ``views`` is not 1 to 6.
    """
    if axes not in (1, 2):
        raise ValueError(f"axes must be 1 (a line) or 2 (a picture), not {axes}")
    if not 1 <= views <= MOST:
        raise ValueError(f"views must be 1 to {MOST}, not {views}")
    seen_BMN3 = turned(points, views)
    absent_B1N1 = ~real[:, None, :, None]
    if axes == 1:
        s_BMN1 = seen_BMN3 @ points.new_tensor(_LINE)[:, None]
        low, high = _ends(s_BMN1, absent_B1N1)
        extent = high - low
        return ((s_BMN1 - low) / torch.where(extent > 0, extent, 1.0)).clamp(0.0, 1.0)
    low, high = _ends(seen_BMN3, absent_B1N1)
    extent = (high - low).amax(-1, keepdim=True)
    place_BMN3 = 0.5 + _PICTURE * (seen_BMN3 - (low + high) / 2) / torch.where(extent > 0, extent, 1.0)
    return place_BMN3[..., [1, 0]].clamp(0.0, 1.0)


def _ends(values: Tensor, absent: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest over the points that there are."""
    low = values.masked_fill(absent, torch.inf).amin(2, keepdim=True)
    return low, values.masked_fill(absent, -torch.inf).amax(2, keepdim=True)
