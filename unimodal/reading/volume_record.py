"""Volume record: where the voxels a model saw lie in the scan that was given, and the way back.

Axes: C channels, I x J x K voxels of the scan's own grid, z, y, x cells or voxels of the model, n points.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unimodal.reading.intensity import Intensity

__all__ = ["VolumeRecord"]

Triple = tuple[int, int, int]
Numbers = tuple[float, float, float]
Matrix = tuple[tuple[float, ...], ...]


@dataclass(frozen=True)
class VolumeRecord:
    """turned = offset + scale * model on each of z, y, x, in coordinates where voxel i covers [i, i + 1).

    *Turned* is the own grid with its axes in the order ``axes`` and those with ``flips`` counted from their end, so
    that they rise superior, anterior and right.

    Args:
        shape: Voxels (I, J, K) of the own grid.
        affine: 4 x 4, from the centre of voxel (i, j, k) of the own grid to mm right, anterior, superior.
        axes: Which own axis z, y and x are.
        flips: Which of z, y and x run against their own axis.
        size: Voxels (z, y, x) that the model sees. Those behind the scan's end repeat its last ones.
        scale: Own voxels a model voxel.
        offset: Of the model's first corner in the turned grid, voxels; above 0 where the scan was cropped.
        stride: Model voxels a cell of the tokenizer's stem.
        intensity: How values were scaled.
        kind: ``hounsfield`` or ``relative``: whether values are Hounsfield units.
        format: What was read.
        modality: As DICOM calls it, None where the file does not tell.
        notes: What was assumed, left out or chosen when the scan was read.
    """

    shape: Triple
    affine: Matrix
    axes: Triple
    flips: tuple[bool, bool, bool]
    size: Triple
    scale: Numbers
    offset: Numbers
    stride: Triple
    intensity: Intensity
    kind: str
    format: str
    modality: str | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data, the fields by name."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "VolumeRecord":
        """The inverse of :meth:`to_json`, also behind a round trip through JSON text."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        fields["affine"] = tuple(tuple(row) for row in fields["affine"])
        return VolumeRecord(**{**fields, "intensity": Intensity.from_json(fields["intensity"])})

    @property
    def grid(self) -> Triple:
        """Cells of the stem along z, y and x."""
        z, y, x = (n // stride for n, stride in zip(self.size, self.stride, strict=True))
        return z, y, x

    @property
    def spacing(self) -> Numbers:
        """mm a voxel along the own axes."""
        i, j, k = torch.tensor(self.affine, dtype=torch.float64)[:3, :3].norm(dim=0).tolist()
        return i, j, k

    @property
    def model_affine(self) -> Matrix:
        """4 x 4, from the centre of the model's voxel (z, y, x) to mm right, anterior, superior."""
        own = torch.zeros(4, 4, dtype=torch.float64)  # model index -> own index
        own[3, 3] = 1
        for z, (axis, flip) in enumerate(zip(self.axes, self.flips, strict=True)):
            first = self.offset[z] + 0.5 * self.scale[z] - 0.5
            own[axis, z] = -self.scale[z] if flip else self.scale[z]
            own[axis, 3] = self.shape[axis] - 1 - first if flip else first
        rows = (torch.tensor(self.affine, dtype=torch.float64) @ own).tolist()
        return tuple(tuple(row) for row in rows)

    def to_mm(self, points: Tensor) -> Tensor:
        """Indices (..., 3) of the model's voxels (z, y, x) as mm right, anterior, superior; in float64."""
        affine = torch.tensor(self.model_affine, dtype=torch.float64, device=points.device)
        return points.double() @ affine[:3, :3].mT + affine[:3, 3]

    def units(self, values: Tensor) -> Tensor:
        """What a model calls ``values`` in the scan's own units."""
        return self.intensity.invert(values)

    def restore(self, values: Tensor, *, fill: float | None = None) -> Tensor:
        """A map over the model's voxels or cells, laid over the scan's own grid, in its own orientation.

        Floating point maps are interpolated linearly (constant behind the outermost centres), integer and boolean ones
        (labels) take the nearest cell. A map of any resolution covers the whole of what the model saw.

        Args:
            fill: For voxels that were cropped away. None: NaN for floats, -1 for signed integers, the largest value
                for unsigned ones (255 for uint8), False for booleans.

        Shapes:
            values: (C, z, y, x) or (z, y, x);  returns (C, I, J, K) or (I, J, K).

        Raises:
            ValueError: ``values`` has neither three nor four axes, or an empty one.
        """
        if values.ndim not in (3, 4) or 0 in values.shape:
            raise ValueError(f"values must be a map (z, y, x) or (C, z, y, x) with cells, not {tuple(values.shape)}")
        seen: list[Tensor] = []
        for z, axis in enumerate(self.axes):
            centres = torch.arange(self.shape[axis], dtype=torch.float64, device=values.device) + 0.5
            model = (centres - self.offset[z]) / self.scale[z]
            seen.append((model >= 0) & (model <= self.size[z]))
            values = _along(values, model * (values.shape[z - 3] / self.size[z]) - 0.5, z - 3)
        if not all(bool(one.all()) for one in seen):
            known = seen[0][:, None, None] & seen[1][:, None] & seen[2]
            values = values.masked_fill(~known, _fill(values.dtype) if fill is None else fill)
        values = values.flip([z - 3 for z, flip in enumerate(self.flips) if flip])
        own = sorted(range(3), key=lambda z: self.axes[z])
        return values.permute(*range(values.ndim - 3), *(values.ndim - 3 + z for z in own)).contiguous()


def _along(values: Tensor, place: Tensor, axis: int) -> Tensor:
    """Values at ``place`` (in units of indices) along one axis."""
    last = values.shape[axis] - 1
    if not values.is_floating_point():
        return values.index_select(axis, (place + 0.5).floor().long().clamp_(0, last))
    place = place.clamp(0, last)
    low = place.floor().long()
    weight = (place - low).to(values.dtype).view(-1, *(1,) * (-1 - axis))
    return torch.lerp(values.index_select(axis, low), values.index_select(axis, (low + 1).clamp_(max=last)), weight)


def _fill(dtype: torch.dtype) -> float | bool:
    if dtype.is_floating_point:
        return float("nan")
    if dtype is torch.bool:
        return False
    return -1 if dtype.is_signed else torch.iinfo(dtype).max
