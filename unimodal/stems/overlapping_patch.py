"""Overlapping patch stem: cut a picture or a clip into boxes that are further apart, or closer, than they are large.

Source: Gong et al. 2021, arXiv:2104.01778, sec. 2.1 (16 x 16 patches of a spectrogram, 6 of 16 rows and columns shared
with the next one); with zeros around the picture: Wu et al. 2021, arXiv:2103.15808, sec. 3.1, and Wang et al. 2021,
arXiv:2106.13797, sec. 3.3; clips whose patches overlap in time alone: Li et al. 2022, arXiv:2201.04676, and its code
github.com/Sense-X/UniFormer, video_classification/slowfast/models/uniformer.py (SpeicalPatchEmbed).
Axes: B inputs, C channels, T frames, Y rows, X columns, D width, P patch size, S stride.
"""

from typing import Any

import torch.nn as nn
from torch import Tensor

from unimodal.channels_last import channels_last

__all__ = ["OverlappingPatchStem"]


class OverlappingPatchStem(nn.Module):
    """token[y, x] = W pixels[S_y y : S_y y + P_y, S_x x : S_x x + P_x] + b; what no whole patch reaches is dropped.

    With padding Z the pixels have Z zeros at each edge, and the first patch begins there. Of a clip a patch has frames
    too, and there are tokens[t, y, x].

    Args:
        dim: Width D.
        patch: P: rows and columns, or frames, rows and columns; or one number for both axes of a picture.
        stride: S, likewise; one number stands for every axis.
        channels: C.
        bias: Whether the projection has a bias.
        padding: Z in px or frames, likewise.

    Shapes:
        pixels: (B, C, Y, X);  returns (B, D, (Y + 2 Z_y - P_y) // S_y + 1, (X + 2 Z_x - P_x) // S_x + 1);
        of clips (B, C, T, Y, X), with an axis of the same form for T.

    Raises:
        ValueError: the patch has other than two or three axes, the stride or the padding has not as many; the padding
            is negative.
    """

    def __init__(
        self,
        dim: int,
        *,
        patch: int | tuple[int, ...] = 16,
        stride: int | tuple[int, ...] = 10,
        channels: int = 3,
        bias: bool = True,
        padding: int | tuple[int, ...] = 0,
    ) -> None:
        super().__init__()
        self.patch = (patch, patch) if isinstance(patch, int) else tuple(patch)
        axes = len(self.patch)
        steps, zeros = ((n,) * axes if isinstance(n, int) else tuple(n) for n in (stride, padding))
        if axes not in (2, 3) or {len(steps), len(zeros)} != {axes}:
            said = f"patch={patch}, stride={stride}, padding={padding}"
            raise ValueError(f"patch, stride and padding must be of two or three axes, the same for all, not {said}")
        if min(zeros) < 0:
            raise ValueError(f"padding must not be negative, not {padding}")
        self.stride: int | tuple[int, ...] = steps[0] if axes == 2 and steps[0] == steps[1] else steps
        self.channels, self.padding = channels, padding
        made: Any = nn.Conv2d if axes == 2 else nn.Conv3d
        self.project = channels_last(made(channels, dim, self.patch, steps, zeros, bias=bias))

    def cells(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """The lattice of inputs of ``sizes`` ((frames,) rows, columns)."""
        fits = zip(sizes, self.project.padding, self.patch, self.project.stride, strict=True)
        return tuple(max((n + 2 * zeros - patch) // stride + 1, 0) for n, zeros, patch, stride in fits)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.project(pixels)
