"""Volume: the voxels of one scan on the grid they came on, and where that grid lies in the patient.

Axes: I, J, K the voxels of the own grid; z, y, x the same ones as superior, anterior, right.
"""

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from unimodal.errors import InputError

__all__ = ["Volume"]


@dataclass(frozen=True, eq=False)
class Volume:
    """Values in real units, and ``affine`` from voxel indices to mm right, anterior and superior of the origin.

    A voxel that its scanner marked as padding is NaN, as is one that a file gives no value for.

    Args:
        name: How to call it in messages.
        values: (I, J, K) numbers.
        affine: (4, 4), of voxel centres.
        format: What it was read from.
        modality: As DICOM calls it (CT, MR, PT ...), None where a file does not tell.
        inverted: Whether high values are shown dark.
        notes: What a reader of results should know about how it was read.

    Raises:
        InputError: the values are no volume with voxels, or the affine does not place them.
    """

    name: str
    values: np.ndarray
    affine: np.ndarray
    format: str
    modality: str | None = None
    inverted: bool = False
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.values.ndim != 3:
            raise InputError(
                self.name, f"has {self.values.ndim} axes, not the 3 of a volume", _AXES.get(self.values.ndim, "")
            )
        if 0 in self.values.shape:
            raise InputError(self.name, f"has no voxels ({' x '.join(map(str, self.values.shape))})")
        if self.values.dtype.kind not in "biuf":
            raise InputError(self.name, f"has values of the kind {self.values.dtype}, not plain numbers")
        if self.affine.shape != (4, 4) or not np.isfinite(self.affine).all():
            raise InputError(self.name, "has an affine that is not 4 x 4 finite numbers")
        if abs(np.linalg.det(self.affine[:3, :3])) < 1e-12:
            raise InputError(self.name, "has voxels without extent (its affine is singular)", "give a spacing in mm")

    def canonical(self) -> tuple[np.ndarray, tuple[int, int, int], tuple[bool, bool, bool]]:
        """A view whose axes rise superior, anterior and right, as nearly as whole turns allow.

        Returns:
            (z, y, x) values, the own axis that each of z, y, x is, and whether it was turned round.
        """
        axes, flips = _nearest(self.affine[:3, :3])
        view = self.values.transpose(axes)
        return view[tuple(slice(None, None, -1 if flip else 1) for flip in flips)], axes, flips


_AXES = {2: "give (1, rows, columns) for one slice"}


def _nearest(directions: np.ndarray) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
    """The permutation and signs nearest to the rotation within ``directions``, columns being the own axes."""
    u, _, vt = np.linalg.svd(directions / np.linalg.norm(directions, axis=0))
    rotation = u @ vt
    axes = max(permutations(range(3)), key=lambda own: sum(rotation[2 - i, a] ** 2 for i, a in enumerate(own)))
    flips = tuple(bool(rotation[2 - i, a] < 0) for i, a in enumerate(axes))
    return (axes[0], axes[1], axes[2]), (flips[0], flips[1], flips[2])
