"""Cloud: points in space as a file holds them, with what else belongs to them."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Cloud"]


@dataclass(frozen=True, eq=False)
class Cloud:
    """Points, or the vertices of a surface.

    Args:
        xyz: (N, 3) float64, in the file's own unit.
        format: Of the file, for people (``PLY binary``).
        rgb: (N, 3) float32 in 0..1, or None.
        faces: (F, 3) int64 triangles into ``xyz``; None for bare points.
        unmeasured: Points without coordinates (a scanner's "no return") that were left out.
    """

    xyz: np.ndarray
    format: str
    rgb: np.ndarray | None = None
    faces: np.ndarray | None = None
    unmeasured: int = 0
