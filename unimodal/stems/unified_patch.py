"""Unified patch stem: pictures and volumes through one door, each by a projection of its own.

Source: Cai et al. 2022, arXiv:2203.04614, the Unified Patch Embedding module.
Axes: B inputs, C channels, Z slices, Y rows, X columns, D width.
"""

import torch.nn as nn
from torch import Tensor

__all__ = ["UnifiedPatchStem"]


class UnifiedPatchStem(nn.Module):
    """token = W_2 values of the square + b_2 of a picture, and W_3 values of the box + b_3 of a volume.

    The input's axes choose the projection, so one encoder behind it learns from both. Inputs of one call are of one
    kind: a batch of pictures leaves W_3 without a gradient, and one of volumes W_2. What lies behind the last whole
    patch is dropped. If W_3 is W_2 / depth at each of its slices, a box gives the token of its mean slice.

    The paper's patches are 16 x 16 and 16 x 16 x 16; its position tables, one a kind, are the model's position here.

    Args:
        dim: Width D.
        patch: Slices, rows and columns of a box; a picture's patches have the same rows and columns.
        channels: C.
        bias: Whether the projections have biases.

    Shapes:
        values: (B, C, Y, X), returns (B, D, Y // patch[1], X // patch[2]);
            or (B, C, Z, Y, X), returns (B, D, Z // patch[0], Y // patch[1], X // patch[2]).

    Raises:
        ValueError: the input has neither four nor five axes.
    """

    axes = (2, 3)

    def __init__(
        self, dim: int, *, patch: tuple[int, int, int] = (8, 16, 16), channels: int = 3, bias: bool = True
    ) -> None:
        super().__init__()
        self.stride: tuple[int, int, int] = (patch[0], patch[1], patch[2])
        self.channels = channels
        self.project_picture = nn.Conv2d(channels, dim, self.stride[1:], self.stride[1:], bias=bias)
        self.project_volume = nn.Conv3d(channels, dim, self.stride, self.stride, bias=bias)

    def cells(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """The lattice of an input of these sizes, (Y, X) or (Z, Y, X)."""
        return tuple(n // stride for n, stride in zip(sizes, self.stride[-len(sizes) :], strict=True))

    def forward(self, values: Tensor) -> Tensor:
        if values.ndim not in (4, 5):
            raise ValueError(f"values must be (B, C, Y, X) or (B, C, Z, Y, X), not {tuple(values.shape)}")
        return self.project_picture(values) if values.ndim == 4 else self.project_volume(values)
