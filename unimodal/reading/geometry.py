"""Image record: where the pixels a model saw lie in the picture that was given, and the way back.

Axes: C channels, H x W pixels of the original as displayed, y x x cells of a map, n points.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["ImageRecord"]


@dataclass(frozen=True)
class ImageRecord:
    """original = offset + scale * model, on each axis, in continuous coordinates where pixel i covers [i, i + 1).

    *Original* is the picture as displayed, that is after its orientation tag was obeyed.

    Args:
        width: Of the original, px.
        height: Of the original, px.
        size: (rows, columns) px that the model sees.
        scale: (x, y) original px a model px.
        offset: (x, y) of the model picture's upper left corner in the original, px; above 0 where it was cropped.
        stride: Model px a cell of the tokenizer's stem. Pixels behind the last whole cell belong to no cell.
        mode: Pixel layout of the source in Pillow's words (``RGB``, ``I;16`` ...), or an array's dtype.
        format: The file's format (``JPEG`` ...), None for a picture that was not a file.
        orientation: EXIF orientation tag 1 to 8 that was obeyed.
    """

    width: int
    height: int
    size: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    stride: int = 1
    mode: str = "RGB"
    format: str | None = None
    orientation: int = 1

    def to_json(self) -> dict[str, Any]:
        """Plain data, the fields by name."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "ImageRecord":
        """The inverse of :meth:`to_json`, also behind a round trip through JSON text."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return ImageRecord(**fields)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the stem's cells."""
        return self.size[0] // self.stride, self.size[1] // self.stride

    def to_original(self, points: Tensor) -> Tensor:
        """Points (..., 2) as (x, y) model px in the original's px; in floating point."""
        points = points if points.is_floating_point() else points.float()
        return points * points.new_tensor(self.scale) + points.new_tensor(self.offset)

    def to_model(self, points: Tensor) -> Tensor:
        """The inverse of :meth:`to_original`; points that were cropped away lie outside ``size``."""
        points = points if points.is_floating_point() else points.float()
        return (points - points.new_tensor(self.offset)) / points.new_tensor(self.scale)

    def restore(self, values: Tensor, *, fill: float | None = None) -> Tensor:
        """A map over the model's pixels or cells, laid over the original's pixels.

        Floating point maps are interpolated bilinearly (constant behind the outermost cells' centres), integer and
        boolean ones (labels) take the nearest cell. A map with as many cells as the stem's grid covers the pixels
        of those cells; one of any other resolution covers the whole model picture.

        Args:
            fill: For pixels that were cropped away. None: NaN for floats, -1 for signed integers, the largest
                value for unsigned ones (255 for uint8), False for booleans.

        Shapes:
            values: (C, y, x) or (y, x);  returns (C, H, W) or (H, W).

        Raises:
            ValueError: ``values`` has neither two nor three axes, or an empty one.
        """
        if values.ndim not in (2, 3) or 0 in values.shape:
            raise ValueError(f"values must be a map (y, x) or (C, y, x) with cells, not {tuple(values.shape)}")
        rows, columns = values.shape[-2:]
        y, seen_y = self._cells(1, rows, values.device)
        x, seen_x = self._cells(0, columns, values.device)
        if values.is_floating_point():
            out = _interpolate(_interpolate(values, y, -2), x, -1)
        else:
            out = values.index_select(-2, _nearest(y, rows)).index_select(-1, _nearest(x, columns))
        if bool(seen_y.all() and seen_x.all()):
            return out
        return out.masked_fill(~(seen_y[:, None] & seen_x), _fill(values.dtype) if fill is None else fill)

    def _cells(self, axis: int, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """For each original pixel along x (0) or y (1): its place in units of cells' indices, and if it was seen."""
        length, pixels = (self.width, self.height)[axis], self.size[1 - axis]
        covered = count * self.stride if count == self.grid[1 - axis] else pixels
        centres = torch.arange(length, device=device, dtype=torch.float64) + 0.5
        model = (centres - self.offset[axis]) / self.scale[axis]
        return model * (count / covered) - 0.5, (model >= 0) & (model <= pixels)


def _nearest(place: Tensor, count: int) -> Tensor:
    return (place + 0.5).floor().long().clamp_(0, count - 1)


def _interpolate(values: Tensor, place: Tensor, axis: int) -> Tensor:
    last = values.shape[axis] - 1
    place = place.clamp(0, last)
    low = place.floor().long()
    weight = (place - low).to(values.dtype)
    weight = weight[:, None] if axis == -2 else weight
    return torch.lerp(values.index_select(axis, low), values.index_select(axis, (low + 1).clamp_(max=last)), weight)


def _fill(dtype: torch.dtype) -> float | bool:
    if dtype.is_floating_point:
        return float("nan")
    if dtype is torch.bool:
        return False
    return -1 if dtype.is_signed else torch.iinfo(dtype).max
