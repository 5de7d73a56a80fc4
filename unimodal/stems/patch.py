"""Patch stem: cut an image into squares and project each one linearly.

Source: Dosovitskiy et al. 2020, arXiv:2010.11929, eq. 1.
Axes: B images, C channels, Y rows, X columns, D width, P patch size in px.
"""

import torch.nn as nn
from torch import Tensor

from unimodal.channels_last import channels_last

__all__ = ["PatchStem"]


class PatchStem(nn.Module):
    """token[y, x] = W pixels[P y : P (y + 1), P x : P (x + 1)] + b; pixels behind the last whole patch are dropped.

    Args:
        dim: Width D.
        patch: P in px.
        channels: C.
        bias: Whether the projection has a bias.

    Shapes:
        pixels: (B, C, Y, X);  returns (B, D, Y // P, X // P).
    """

    def __init__(self, dim: int, *, patch: int = 16, channels: int = 3, bias: bool = True) -> None:
        super().__init__()
        self.stride, self.channels = patch, channels
        self.project = channels_last(nn.Conv2d(channels, dim, patch, patch, bias=bias))

    def forward(self, pixels: Tensor) -> Tensor:
        return self.project(pixels)
