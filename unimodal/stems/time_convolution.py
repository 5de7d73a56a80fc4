"""Time convolution stem: two convolutions along time turn a spectrogram into one row of cells at half its frames.

Source: Radford et al. 2022, arXiv:2212.04356, sec. 2.2 (filter width 3, GELU, the second of stride 2).
Axes: B pictures, C channels, Y rows (bands), X columns (frames), D width.
"""

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

__all__ = ["TimeConvolutionStem"]


class TimeConvolutionStem(nn.Module):
    """h = gelu(W_1 * pixels), cells = gelu(W_2 * h); both see three columns, the first all rows of its group of bands.

    With ``bands`` = Y there is one row of cells, and these are Whisper's two one-dimensional convolutions over its mel
    bands; fewer give a row for each group of bands, with the same weights. The picture is continued with zeros to
    both sides.

    Args:
        dim: Width D.
        bands: Rows of a group; rows behind the last whole group are dropped.
        channels: C.

    Shapes:
        pixels: (B, C, Y, X);  returns (B, D, Y // bands, (X + 1) // 2).
    """

    def __init__(self, dim: int, *, bands: int = 16, channels: int = 3) -> None:
        super().__init__()
        self.channels, self.stride = channels, (bands, 2)
        self.spread = nn.Conv2d(channels, dim, (bands, 3), (bands, 1), padding=(0, 1))
        self.halve = nn.Conv2d(dim, dim, (1, 3), (1, 2), padding=(0, 1))

    def cells(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """The lattice of pictures of ``sizes`` (rows, columns)."""
        return sizes[0] // self.stride[0], (sizes[1] + 1) // 2

    def forward(self, pixels: Tensor) -> Tensor:
        return F.gelu(self.halve(F.gelu(self.spread(pixels))))
