"""Convolution stack stem: convolutions of 3 x 3 in a row, each with a norm and an activation.

Source: Xiao et al. 2021, arXiv:2106.14881, sec. 4; four of them, one in front of the last narrower: Li et al. 2022,
arXiv:2207.05501; without an activation behind the last: Fan et al. 2023, arXiv:2309.11523, and its code
github.com/qhfan/RMT, classfication_release/RMT.py.
Axes: B images, C channels, Y rows, X columns, D width.
"""

import math
from itertools import pairwise

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.activation import activation as activation_named
from unimodal.channels_last import channels_last
from unimodal.folding import fold_pairs
from unimodal.norms.batch import BatchNorm
from unimodal.part import Part
from unimodal.sharing_copy import sharing_copy

__all__ = ["ConvolutionStackStem"]


class ConvolutionStackStem(nn.Module):
    """For each width and then for D: act(norm(conv 3 x 3)).

    A convolution sees one zero around the map, so with stride S an axis of n px gets n / S cells, rounded up. A batch
    norm is one factor and one shift a channel in use, and goes into its convolution (:meth:`deployed`).

    Args:
        dim: Width D.
        widths: Channels of the convolutions before the last one.
        strides: Of all convolutions, the last one's too.
        norm: Norm behind each convolution.
        activation: A name from :mod:`unimodal.activation`.
        activated: Whether there is an activation behind the last norm too.
        bias: Whether the convolutions have biases, which a norm that centres undoes.
        channels: C.

    Shapes:
        pixels: (B, C, Y, X);  returns (B, D, *cells(Y, X)).

    Raises:
        ValueError: a width or stride is not positive; not one stride more than widths; an unknown activation.
    """

    def __init__(
        self,
        dim: int,
        *,
        widths: tuple[int, ...] = (64, 32, 64),
        strides: tuple[int, ...] = (2, 1, 1, 2),
        norm: Part = Part(BatchNorm),
        activation: str = "relu",
        activated: bool = True,
        bias: bool = False,
        channels: int = 3,
    ) -> None:
        super().__init__()
        if len(strides) != len(widths) + 1:
            raise ValueError(f"{len(widths)} widths and D need {len(widths) + 1} strides, not {strides}")
        steps = (channels, *widths, dim)
        if min(*steps, *strides) < 1:
            raise ValueError(f"widths and strides must be positive, not {tuple(widths)}, {strides}")
        self.stride, self.channels, self.activated = math.prod(strides), channels, activated
        self.activation = activation_named(activation)
        self.convolutions = nn.ModuleList(
            _convolution(a, b, stride, bias) for (a, b), stride in zip(pairwise(steps), strides, strict=True)
        )
        self.norms = nn.ModuleList(norm(b) for b in steps[1:])

    def cells(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """The lattice of an image of ``sizes``: each of them over the stride, rounded up."""
        return tuple(-(-n // self.stride) for n in sizes)

    def forward(self, pixels: Tensor) -> Tensor:
        h = pixels.contiguous(memory_format=torch.channels_last)
        for i, (convolution, norm) in enumerate(zip(self.convolutions, self.norms, strict=True), 1):
            h = norm(convolution(h).movedim(1, -1)).movedim(-1, 1)
            h = self.activation(h) if self.activated or i < len(self.norms) else h
        return h

    def deployed(self) -> "ConvolutionStackStem":
        """The same outputs in use, with norms that are affine then in their convolutions."""
        made = sharing_copy(self)
        fold_pairs(made.convolutions, made.norms)
        return made


def _convolution(before: int, width: int, stride: int, bias: bool) -> nn.Conv2d:
    made = nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=bias)
    nn.init.trunc_normal_(made.weight, std=0.02)
    if made.bias is not None:
        nn.init.zeros_(made.bias)
    return channels_last(made)
