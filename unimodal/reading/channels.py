"""Channels: pictures of any number of channels (grey, red green blue and near infrared, ...) as 8-bit planes.

Axes: C channels, Y rows, X columns.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from unimodal.errors import InputError
from unimodal.reading.colour import eight_bit_array
from unimodal.reading.opening import source_name
from unimodal.reading.picture import Box, open_picture

__all__ = ["Planes", "open_planes"]

_IN_TORCH = {Image.Resampling.BILINEAR: "bilinear", Image.Resampling.BICUBIC: "bicubic"}


@dataclass(frozen=True, eq=False)
class Planes:
    """A decoded picture; the fields are those of :class:`unimodal.reading.picture.Picture`.

    Shapes:
        values: uint8 (Y, X, C), as displayed.
    """

    name: str
    values: np.ndarray
    mode: str
    format: str | None
    orientation: int

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) px."""
        return self.values.shape[1], self.values.shape[0]

    def pixels(self, size: tuple[int, int], box: Box, resample: Image.Resampling) -> tuple[Tensor, Box]:
        """The part ``box``, cut at whole pixels, at ``size``; and where the cut was.

        Shapes:
            returns (C, rows, columns) uint8.
        """
        (x0, x1), (y0, y1) = _whole(box[0], box[2], self.size[0]), _whole(box[1], box[3], self.size[1])
        part = torch.from_numpy(np.array(self.values[y0:y1, x0:x1])).permute(2, 0, 1)
        if tuple(part.shape[1:]) != size:
            if resample in _IN_TORCH:
                part = F.interpolate(part[None].contiguous(), size, mode=_IN_TORCH[resample], antialias=True)[0]
            else:
                planes = [
                    Image.fromarray(plane.numpy()).resize((size[1], size[0]), resample) for plane in part.contiguous()
                ]
                part = torch.from_numpy(np.stack([np.asarray(plane) for plane in planes]))
        return part.contiguous(), (float(x0), float(y0), float(x1), float(y1))


def open_planes(source: Any, *, channels: int, pixel_limit: int) -> Planes:
    """A picture of so many channels.

    An array must have them: (Y, X) or (Y, X, 1) for one, else (Y, X, C), of uint8, uint16, bool or float in 0..1. Of a
    file or PIL image one channel is its grey; two and four are its bands as stored (grey and alpha, red green blue
    and a fourth), and what Pillow does not read as so many bands is refused.

    Raises:
        InputError: as :func:`unimodal.reading.picture.open_picture`, or the channels are not so many.
    """
    if isinstance(source, np.ndarray):
        name = source_name(source)
        values = source[:, :, None] if source.ndim == 2 else source
        if values.ndim != 3 or values.shape[2] != channels:
            also = "(rows, columns) or " if channels == 1 else ""
            raise InputError(name, f"is not {also}(rows, columns, {channels})")
        values = eight_bit_array(values, name, pixel_limit)
        return Planes(name, values, f"{source.dtype} array", None, 1)
    with open_picture(source, pixel_limit=pixel_limit) as picture:
        bands = len(picture.image.getbands())
        if channels not in (1, bands):
            raise InputError(picture.name, f"has {bands} channels ({picture.mode}), not {channels}")
        if channels == 1:
            width, height = picture.size
            rgb, _ = picture.pixels((height, width), (0.0, 0.0, width, height), Image.Resampling.BILINEAR)
            values = np.asarray(Image.fromarray(rgb.permute(1, 2, 0).numpy()).convert("L"))[:, :, None]
        else:
            values = picture.levels(bands=True)
        return Planes(picture.name, values, picture.mode, picture.format, picture.orientation)


def _whole(low: float, high: float, length: int) -> tuple[int, int]:
    cells = min(max(1, round(high - low)), length)
    begin = min(max(0, round(low)), length - cells)
    return begin, begin + cells
