"""Overlapping patch stem: cut a picture into rectangles that are further apart, or closer, than they are large.

Source: Gong et al. 2021, arXiv:2104.01778, sec. 2.1 (16 x 16 patches of a spectrogram, 6 of 16 rows and columns shared
with the next one); with zeros around the picture: Wu et al. 2021, arXiv:2103.15808, sec. 3.1, and Wang et al. 2021,
arXiv:2106.13797, sec. 3.3.
Axes: B pictures, C channels, Y rows, X columns, D width, P patch size, T stride.
"""

import torch.nn as nn
from torch import Tensor

__all__ = ["OverlappingPatchStem"]


class OverlappingPatchStem(nn.Module):
    """token[y, x] = W pixels[T_y y : T_y y + P_y, T_x x : T_x x + P_x] + b; what no whole patch reaches is dropped.

    With padding Z the pixels have Z zeros at each edge, and the first patch begins there.

    Args:
        dim: Width D.
        patch: P, rows and columns or one number for both.
        stride: T, likewise.
        channels: C.
        bias: Whether the projection has a bias.
        padding: Z, in px.

    Shapes:
        pixels: (B, C, Y, X);  returns (B, D, (Y + 2 Z - P_y) // T_y + 1, (X + 2 Z - P_x) // T_x + 1).

    Raises:
        ValueError: the padding is negative.
    """

    def __init__(
        self,
        dim: int,
        *,
        patch: int | tuple[int, int] = 16,
        stride: int | tuple[int, int] = 10,
        channels: int = 3,
        bias: bool = True,
        padding: int = 0,
    ) -> None:
        super().__init__()
        if padding < 0:
            raise ValueError(f"padding must not be negative, not {padding}")
        self.patch = (patch, patch) if isinstance(patch, int) else (patch[0], patch[1])
        steps = (stride, stride) if isinstance(stride, int) else (stride[0], stride[1])
        self.stride: int | tuple[int, int] = steps[0] if steps[0] == steps[1] else steps
        self.channels, self.padding = channels, padding
        self.project = nn.Conv2d(channels, dim, self.patch, steps, padding, bias=bias)

    def cells(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """The lattice of pictures of ``sizes`` (rows, columns)."""
        steps = self.project.stride
        fits = zip((n + 2 * self.padding for n in sizes), self.patch, steps, strict=True)
        return tuple((n - patch) // stride + 1 if n >= patch else 0 for n, patch, stride in fits)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.project(pixels)
