"""Intensity record: where the pixels of a one-channel picture lie in the one that was given, and what they measured."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from unimodal.reading.geometry import ImageRecord
from unimodal.reading.intensity import Intensity

__all__ = ["IntensityRecord"]


@dataclass(frozen=True)
class IntensityRecord:
    """The geometry and the scale that were taken away, and the ways back.

    Args:
        image: Where the model's pixels lie; see :class:`unimodal.reading.geometry.ImageRecord`.
        intensity: How values were scaled.
        spacing: (rows, columns) mm between pixels of the original, None where the file does not tell.
        modality: As DICOM calls it, None for other files.
        notes: What was assumed, left out or chosen when the picture was read.
    """

    image: ImageRecord
    intensity: Intensity
    spacing: tuple[float, float] | None = None
    modality: str | None = None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data, the fields by name."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "IntensityRecord":
        """The inverse of :meth:`to_json`, also behind a round trip through JSON text."""
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        image, intensity = ImageRecord.from_json(fields["image"]), Intensity.from_json(fields["intensity"])
        return IntensityRecord(**{**fields, "image": image, "intensity": intensity})

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the stem's cells."""
        return self.image.grid

    def units(self, values: Tensor) -> Tensor:
        """What a model calls ``values`` in the picture's own units."""
        return self.intensity.invert(values)

    def restore(self, values: Tensor, *, fill: float | None = None) -> Tensor:
        """See :meth:`unimodal.reading.geometry.ImageRecord.restore`."""
        return self.image.restore(values, fill=fill)

    def to_original(self, points: Tensor) -> Tensor:
        """See :meth:`unimodal.reading.geometry.ImageRecord.to_original`."""
        return self.image.to_original(points)

    def to_model(self, points: Tensor) -> Tensor:
        """See :meth:`unimodal.reading.geometry.ImageRecord.to_model`."""
        return self.image.to_model(points)
