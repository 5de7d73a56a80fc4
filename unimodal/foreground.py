"""Foreground: each query reads the cells that its own mask covers.

Source: Cheng et al. 2021, arXiv:2112.01527, sec. 3.2.1, eq. 2 and 3; a query without any cell reads all of them: the
released code, github.com/facebookresearch/Mask2Former, mask2former_transformer_decoder.py.
Axes: B pictures, N queries, Y X the finest lattice, M cells of a level.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Foreground"]


class Foreground(nn.Module):
    """May attend where sigmoid(mask at the level's size) >= 1/2, and everywhere if that is nowhere; no gradient.

    The cut is sharp: a cell whose logit is 0 but for rounding falls on either side, and two computations in float32 may
    differ by as much as that cell is worth to its query.

    Shapes:
        masks: (B, N, Y, X) logits;  returns (B, 1, N, M), True = may attend, M the cells of ``grid``.
    """

    @torch.no_grad()
    def forward(self, masks: Tensor, grid: tuple[int, int]) -> Tensor:
        seen_BNM = F.interpolate(masks, size=grid, mode="bilinear", align_corners=False).flatten(2).sigmoid() >= 0.5
        return (seen_BNM | ~seen_BNM.any(-1, keepdim=True))[:, None]
