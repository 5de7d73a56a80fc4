"""Tubelet stem: cut a clip or a volume into boxes and project each one linearly.

Source: Arnab et al. 2021, arXiv:2103.15691, sec. 3.2 (tubelet embedding); volumes: Hatamizadeh et al. 2021,
arXiv:2103.10504, eq. 1.
Axes: B inputs, C channels, T frames or slices, Y rows, X columns, D width.
"""

import torch.nn as nn
from torch import Tensor

__all__ = ["TubeletStem"]


class TubeletStem(nn.Module):
    """token[t, y, x] = W values of the box (t, y, x) + b; what lies behind the last whole box is dropped.

    Args:
        dim: Width D.
        patch: Frames (or slices), rows and columns of a box.
        channels: C.
        bias: Whether the projection has a bias.

    Shapes:
        values: (B, C, T, Y, X);  returns (B, D, T // patch[0], Y // patch[1], X // patch[2]).
    """

    axes = 3

    def __init__(
        self, dim: int, *, patch: tuple[int, int, int] = (2, 16, 16), channels: int = 3, bias: bool = True
    ) -> None:
        super().__init__()
        self.stride: tuple[int, int, int] = (patch[0], patch[1], patch[2])
        self.channels = channels
        self.project = nn.Conv3d(channels, dim, self.stride, self.stride, bias=bias)

    def forward(self, values: Tensor) -> Tensor:
        return self.project(values)
