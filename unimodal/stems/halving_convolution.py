"""Halving convolution stem: convolutions of 3 x 3 with stride 2, each followed by a norm, until the map is D wide.

Source: Ding et al. 2024, arXiv:2311.15599; its code github.com/AILab-CVC/UniRepLKNet, unireplknet.py,
downsample_layers[0].
Axes: B images, C channels, Y rows, X columns, D width.
"""

from itertools import pairwise

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.channels_last import channels_last
from unimodal.folding import fold_pairs
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.sharing_copy import sharing_copy

__all__ = ["HalvingConvolutionStem"]


class HalvingConvolutionStem(nn.Module):
    """For each width and then for D: conv 3 x 3 with stride 2, norm; GELU between them.

    A convolution sees one zero around the map, so an axis of n px is halved with rounding up, any number of times.

    Args:
        dim: Width D.
        widths: Channels of the convolutions before the last one, or None for one of D / 2. The stride is 2 to the power
            of the number of all of them.
        norm: Norm behind each convolution.
        channels: C.

    Shapes:
        pixels: (B, C, Y, X);  returns (B, D, *cells(Y, X)).

    Raises:
        ValueError: a width is not positive.
    """

    def __init__(
        self,
        dim: int,
        *,
        widths: tuple[int, ...] | None = None,
        norm: Part = Part(LayerNorm),
        channels: int = 3,
    ) -> None:
        super().__init__()
        steps = (channels, *((dim // 2,) if widths is None else widths), dim)
        if min(steps) < 1:
            raise ValueError(f"widths must be positive, not {steps[1:-1]}")
        self.stride, self.channels = 2 ** (len(steps) - 1), channels
        self.convolutions = nn.ModuleList(_halving(a, b) for a, b in pairwise(steps))
        self.norms = nn.ModuleList(norm(b) for b in steps[1:])

    def cells(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """The lattice of an image of ``sizes``: each of them over the stride, rounded up."""
        return tuple(-(-n // self.stride) for n in sizes)

    def forward(self, pixels: Tensor) -> Tensor:
        for i, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            pixels = F.gelu(pixels) if i else pixels
            pixels = norm(convolution(pixels).movedim(1, -1)).movedim(-1, 1)
        return pixels

    def deployed(self) -> "HalvingConvolutionStem":
        """The same outputs in use, with norms that are affine then in their convolutions."""
        made = sharing_copy(self)
        fold_pairs(made.convolutions, made.norms)
        return made


def _halving(before: int, width: int) -> nn.Conv2d:
    made = nn.Conv2d(before, width, 3, stride=2, padding=1)
    nn.init.trunc_normal_(made.weight, std=0.02)
    nn.init.zeros_(made.bias)  # pyright: ignore[reportArgumentType]
    return channels_last(made)
