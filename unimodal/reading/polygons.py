"""Polygons: the faces of a mesh file as triangles, checked against its vertices."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from unimodal.errors import InputError

__all__ = ["triangles"]


def triangles(polygons: np.ndarray | Sequence[Any], vertices: int, name: str) -> np.ndarray | None:
    """A fan around the first corner of each polygon; those of fewer than three corners are no surface and left out.

    Args:
        polygons: Vertex indices of each face: an array (F, corners), or a sequence of arrays.
        vertices: How many there are.
        name: Of the file, for messages.

    Shapes:
        returns int64 (F', 3), or None if there is no face.

    Raises:
        InputError: an index has no vertex.
    """
    if isinstance(polygons, np.ndarray):
        groups = [polygons.astype(np.int64)] if polygons.ndim == 2 else []
    else:
        by_size: dict[int, list[Any]] = {}
        for polygon in polygons:
            by_size.setdefault(len(polygon), []).append(polygon)
        groups = [np.array(same, np.int64) for same in by_size.values() if len(same[0])]
    fans = [group[:, [0, i, i + 1]] for group in groups for i in range(1, group.shape[1] - 1)]
    found = np.concatenate(fans) if fans else np.empty((0, 3), np.int64)
    if not len(found):
        return None
    if not vertices:
        raise InputError(name, f"has {len(found)} faces and no vertices")
    outside = (found < 0) | (found >= vertices)
    if outside.any():
        wrong = int(found[outside][0])
        raise InputError(name, f"has a face with vertex {wrong}, of vertices 0 to {vertices - 1}")
    return found
