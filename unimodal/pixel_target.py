"""Pixel target: what a masked patch should be filled with are its own values.

Source: He et al. 2021, arXiv:2111.06377, sec. 3 ("Reconstruction target"); the variance with Bessel's correction and
its 1e-6: released code github.com/facebookresearch/mae, models_mae.py, forward_loss.
Axes: B inputs, C channels, ... the axes of a picture or volume, N patches, K values of a patch.
"""

from collections.abc import Sequence

import torch.nn as nn
from torch import Tensor

from unimodal.patches import patchify

__all__ = ["PixelTarget"]


class PixelTarget(nn.Module):
    """The patches v, or (v - mean(v)) / sqrt(var(v) + 1e-6) patch by patch.

    Args:
        normalised: Whether each patch is brought to mean 0 and variance 1, which makes the contrast within a patch
            count as much where the picture is dim.

    Shapes:
        values: (B, C, ...);  returns (B, N, K).
    """

    def __init__(self, *, normalised: bool = False) -> None:
        super().__init__()
        self.normalised = normalised

    def forward(self, values: Tensor, patch: Sequence[int]) -> Tensor:
        boxes_BNK = patchify(values, patch)
        if not self.normalised:
            return boxes_BNK
        spread = (boxes_BNK.var(-1, keepdim=True) + 1e-6).sqrt()
        return (boxes_BNK - boxes_BNK.mean(-1, keepdim=True)) / spread
