"""Convolution stem: overlapping convolutions before the transformer, for images that are small or data that is scarce.

Source: Xiao et al. 2021, arXiv:2106.14881, sec. 4 (stacked 3 x 3 convolutions with norm and activation instead of one
patchify convolution; we use GELU and keep stride-1 convolutions between the strided ones).
Axes: B images, C channels, Y rows, X columns, D width.
"""

import torch.nn as nn
from torch import Tensor

__all__ = ["ConvolutionStem"]


class ConvolutionStem(nn.Module):
    """For each width: conv 3x3, norm, GELU, conv 3x3, norm, GELU, halve by max pooling; then a 1x1 conv to D.

    Args:
        dim: Width D.
        widths: Channels of the stages; the stride is 2 to the power of their number.
        channels: C.

    Shapes:
        pixels: (B, C, Y, X);  returns (B, D, Y / stride, X / stride), rounded down.
    """

    def __init__(self, dim: int, *, widths: tuple[int, ...] = (64, 128), channels: int = 3) -> None:
        super().__init__()
        self.stride, self.channels = 2 ** len(widths), channels
        stages, before = [], channels
        for width in widths:
            stages.append(nn.Sequential(*_conv(before, width), *_conv(width, width), nn.MaxPool2d(2)))
            before = width
        self.stages = nn.ModuleList(stages)
        self.project = nn.Conv2d(before, dim, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        for stage in self.stages:
            pixels = stage(pixels)
        return self.project(pixels)


def _conv(before: int, width: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.GELU()
