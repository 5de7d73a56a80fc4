"""Gradient target: what a masked patch should be filled with is how steep its values are.

Source: Cai et al. 2022, arXiv:2203.04614 (the gradient map of the dual-branch decoder); the operator: Sobel & Feldman
1968, scaled as in scikit-image's filters.sobel.
Axes: B inputs, C channels, ... the axes of a picture or volume, Y rows, X columns, N patches, K values of a patch.
"""

from collections.abc import Sequence

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.patches import patchify

__all__ = ["GradientTarget"]


class GradientTarget(nn.Module):
    """The patches of g = sqrt((g_y^2 + g_x^2) / 2), g_y = [1 2 1] / 4 along X of [-1 0 1] along Y, and g_x the other.

    A volume's map is made slice by slice: slices of a scan are often several times further apart than pixels are, and
    a picture's and a volume's targets are then of one kind. Channels are taken one by one. At the border the last row
    or column is repeated. It is made of the true values of the whole input, so the map of a masked patch also tells of
    the pixels around it.

    The released code of the follow-up (github.com/Davidczy/Uni4Eye_pp, octa500.py) takes (|g_y| + |g_x|) / 2 of kernels
    of five pixels, rounded to whole numbers, of the grey picture; this is the magnitude, unrounded.

    Shapes:
        values: (B, C, ...);  returns (B, N, K).
        steepness: (..., Y, X);  returns the same shape.
    """

    def forward(self, values: Tensor, patch: Sequence[int]) -> Tensor:
        return patchify(self.steepness(values), patch)

    @staticmethod
    def steepness(values: Tensor) -> Tensor:
        """g."""
        wide = F.pad(values.reshape(1, -1, *values.shape[-2:]), (1, 1, 1, 1), mode="replicate")[0]
        down, right = wide[:, 2:] - wide[:, :-2], wide[..., 2:] - wide[..., :-2]
        g_y = (down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]) / 4
        g_x = (right[:, :-2] + 2 * right[:, 1:-1] + right[:, 2:]) / 4
        return ((g_y.square() + g_x.square()) / 2).sqrt().view(values.shape)
