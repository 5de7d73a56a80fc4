"""Filled stem: a picture is filled up with zeros to whole patches before another stem cuts it.

Source: github.com/microsoft/Swin-Transformer-Object-Detection, mmdet/models/backbones/swin_transformer.py
(``PatchEmbed``); the model: Liu et al. 2021, arXiv:2103.14030.
Axes: B pictures, C channels, Y rows, X columns, D width, P stride in px.
"""

from collections.abc import Sequence
from typing import Any

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.part import Part
from unimodal.stems.patch import PatchStem

__all__ = ["FilledStem"]


class FilledStem(nn.Module):
    """token[y, x] = stem([pixels, 0])[y, x]: the last row and column of patches keep what lies in them.

    A stem alone drops pixels behind the last whole patch. Where both sides are multiples of P, this is the stem.

    Args:
        dim: Width D.
        stem: Cuts pictures of whole patches, with one ``stride`` P for both axes.

    Shapes:
        pixels: (B, C, Y, X);  returns (B, D, ceil(Y / P), ceil(X / P)).

    Raises:
        ValueError: the stem has another stride along each axis.
    """

    def __init__(self, dim: int, *, stem: Part = Part(PatchStem)) -> None:
        super().__init__()
        self.stem: Any = stem(dim)
        if not isinstance(self.stem.stride, int):
            raise ValueError(f"stem must have one stride for both axes, not {self.stem.stride}")
        self.stride, self.channels = self.stem.stride, self.stem.channels

    def cells(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """The lattice of pictures of ``sizes`` (rows, columns)."""
        return tuple(-(-n // self.stride) for n in sizes)

    def forward(self, pixels: Tensor) -> Tensor:
        below, right = (-n % self.stride for n in pixels.shape[2:])
        return self.stem(F.pad(pixels, (0, right, 0, below)) if below or right else pixels)
