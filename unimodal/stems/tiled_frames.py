"""Tiled frames stem: the frames of a clip laid out as one large picture, for a stem of pictures.

Source: Ding et al. 2024, arXiv:2311.15599 (video as one image of its frames; 16 frames of 224 px make 896 px).
Axes: B clips, C channels, T frames, Y rows, X columns, R C rows and columns of frames, D width.
"""

import math

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.part import Part
from unimodal.stems.halving_convolution import HalvingConvolutionStem

__all__ = ["TiledFramesStem"]


class TiledFramesStem(nn.Module):
    """stem(picture), picture[Y r + y, X c + x] = frame[C r + c][y, x].

    C is the square root of T, rounded up, and R the rows that T frames fill; black (0) fills the last one. A frame
    whose sides the stem's stride does not divide gets black rows below and columns on the right, so that every cell of
    the map belongs to one frame and :meth:`frames` finds them again. Neighbours on the picture see one another, in
    time along its rows and C frames apart along its columns.

    Args:
        dim: Width D.
        stem: Turns pictures (B, C, Y, X) into (B, D, Y / stride, X / stride) and has ``stride`` and ``channels``.

    Shapes:
        values: (B, C, T, Y, X);  returns (B, D, R ceil(Y / stride), C ceil(X / stride)), a lattice of two axes.
    """

    axes = 3

    def __init__(self, dim: int, *, stem: Part = Part(HalvingConvolutionStem)) -> None:
        super().__init__()
        self.stem = stem(dim)
        self.channels = self.stem.channels
        self.stride = (1, self.stem.stride, self.stem.stride)

    def cells(self, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """The lattice (rows, columns) of a clip of ``sizes``."""
        (rows, columns), step = _tiles(sizes[0]), self.stem.stride
        return rows * -(-sizes[1] // step), columns * -(-sizes[2] // step)

    def forward(self, values: Tensor) -> Tensor:
        return self.stem(self.picture(values))

    def picture(self, values_BCTYX: Tensor) -> Tensor:
        """The frames as one picture (B, C, R Y', C X')."""
        frames, rows_px, columns_px = values_BCTYX.shape[2:]
        (rows, columns), step = _tiles(frames), self.stem.stride
        room = (-columns_px % step, -rows_px % step, rows * columns - frames)
        tiles = F.pad(values_BCTYX, (0, room[0], 0, room[1], 0, room[2])).unflatten(2, (rows, columns))
        return tiles.transpose(3, 4).flatten(2, 3).flatten(3, 4)

    def frames(self, map_BDYX: Tensor, count: int) -> Tensor:
        """What lies on the picture, or on the stem's lattice of it, as ``count`` frames (B, D, T, y, x).

        Raises:
            ValueError: the map is not a whole number of frames high and wide.
        """
        (rows, columns), (height, width) = _tiles(count), map_BDYX.shape[2:]
        if height % rows or width % columns:
            raise ValueError(f"{count} frames in {rows} x {columns} do not divide a map of {height} x {width}")
        tiles = map_BDYX.unflatten(3, (columns, -1)).unflatten(2, (rows, -1)).transpose(3, 4)
        return tiles.flatten(2, 3)[:, :, :count]


def _tiles(frames: int) -> tuple[int, int]:
    columns = math.isqrt(frames - 1) + 1
    return -(-frames // columns), columns
