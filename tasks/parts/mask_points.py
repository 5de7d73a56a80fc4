"""Mask points: masks are compared at some points instead of at every pixel, most of them where they are unsure.

Source: Kirillov et al. 2019, arXiv:1912.08193, sec. 3.1 (training); in mask transformers: Cheng et al. 2021,
arXiv:2112.01527, sec. 3.3.
Axes: J masks, Y rows, X columns, P points, C candidates.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["at_points", "unsure_points"]


def at_points(masks_JYX: Tensor, points_JP2: Tensor) -> Tensor:
    """(J, P) the masks' values at points (x, y) in 0..1, bilinear between the centres of cells, 0 outside.

    Masks of different sizes are thereby compared without resizing either. ``points`` may be (1, P, 2): the same for
    all masks, which are then read as one map of J channels.
    """
    points_JP2 = points_JP2.to(masks_JYX.dtype)
    if len(points_JP2) == 1:
        return F.grid_sample(masks_JYX[None], points_JP2[:, None] * 2 - 1, align_corners=False)[0, :, 0]
    return F.grid_sample(masks_JYX[:, None], points_JP2[:, None] * 2 - 1, align_corners=False)[:, 0, 0]


def unsure_points(logits_JYX: Tensor, points: int, *, oversample: float = 3.0, importance: float = 0.75) -> Tensor:
    """(J, P, 2) points (x, y) in 0..1: a share ``importance`` of P where logits are nearest to 0, the rest anywhere.

    The unsure ones are the best of ``oversample`` P candidates drawn evenly.
    """
    count, chosen = len(logits_JYX), int(importance * points)
    candidates_JC2 = torch.rand(count, int(points * oversample), 2, device=logits_JYX.device)
    doubt_JC = -at_points(logits_JYX.detach(), candidates_JC2).abs()
    best_JP = doubt_JC.topk(chosen, dim=1).indices
    unsure_JP2 = candidates_JC2.gather(1, best_JP[..., None].expand(-1, -1, 2))
    anywhere_JP2 = torch.rand(count, points - chosen, 2, device=logits_JYX.device)
    return torch.cat([unsure_JP2, anywhere_JP2], 1)
