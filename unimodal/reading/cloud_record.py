"""Cloud record: where a point cloud lay and how big it was, and which of its points a model was given."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["CloudRecord"]


@dataclass(frozen=True)
class CloudRecord:
    """model = (input - centre) / scale, on the points that were taken; they fill the unit sphere.

    Args:
        centre: Mean of the points taken, in the input's coordinates.
        scale: Largest distance of a point taken from the centre, in the input's unit.
        points: Points taken.
        of: Different points that there were to take from; of a mesh, points sampled on its surface.
        repeated: Points left out because another one has the same coordinates.
        unmeasured: Points left out because they have no coordinates (a scanner's "no return").
        faces: Triangles of the mesh, 0 for a cloud.
        sampling: How the points were taken.
        format: Of the file.
        coloured: Whether the input has colours.
    """

    centre: tuple[float, float, float]
    scale: float
    points: int
    of: int
    repeated: int
    unmeasured: int
    faces: int
    sampling: str
    format: str
    coloured: bool

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out of it, in words."""
        taken = f"{self.points} of {self.of} points were taken"
        blank = f"{self.unmeasured} points without coordinates were left out"
        return (*([taken] if self.points < self.of else []), *([blank] if self.unmeasured else []))

    def restore(self, values: Tensor) -> Tensor:
        """Places in the model's coordinates in the input's own.

        Shapes:
            values: (..., 3);  returns float64 (..., 3): map coordinates need more digits than float32 has.
        """
        centre = torch.tensor(self.centre, dtype=torch.float64, device=values.device)
        return values.double() * self.scale + centre

    def to_model(self, places: Tensor) -> Tensor:
        """The inverse of :meth:`restore`.

        Shapes:
            places: (..., 3);  returns float64 (..., 3).
        """
        centre = torch.tensor(self.centre, dtype=torch.float64, device=places.device)
        return (places.double() - centre) / self.scale

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "centre": list(self.centre)}
