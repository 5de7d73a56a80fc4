"""Gaps: missing values of a series, filled between the neighbours that were measured.

Axes: ... leading axes, L time steps.
"""

import torch
from torch import Tensor

__all__ = ["fill_gaps"]


def fill_gaps(x: Tensor) -> Tensor:
    """Linear between the last value before a gap and the first behind it; at the ends, the nearest one; 0 without any.

    Shapes:
        x: (..., L) with NaN where a value is missing;  returns (..., L) without.
    """
    steps = x.shape[-1]
    place = torch.arange(steps, device=x.device).expand(x.shape)
    missing = x.isnan()
    before = place.masked_fill(missing, -1).cummax(-1).values
    behind = place.masked_fill(missing, steps).flip(-1).cummin(-1).values.flip(-1)
    left = torch.where(before < 0, behind, before).clamp(0, steps - 1)
    right = torch.where(behind >= steps, before, behind).clamp(0, steps - 1)
    known = x.masked_fill(missing, 0.0)
    share = (place - left).to(x.dtype) / (right - left).clamp_min(1)
    return torch.lerp(known.gather(-1, left), known.gather(-1, right), share)
