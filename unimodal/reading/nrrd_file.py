"""NRRD: a .nrrd file, or a .nhdr header with its data file, as a volume.

Source: the NRRD format, teem.sourceforge.net/nrrd/format.html (space, space directions, space origin); decoded by
pynrrd.
"""

from typing import IO, Any

import numpy as np

from unimodal.errors import InputError, MissingExtraError
from unimodal.reading.nifti import pick_frame
from unimodal.reading.opening import told
from unimodal.reading.quiet import quiet
from unimodal.reading.volume import Volume

__all__ = ["read_nrrd"]

_SIGNS = {
    "right": (0, 1),
    "left": (0, -1),
    "anterior": (1, 1),
    "posterior": (1, -1),
    "superior": (2, 1),
    "inferior": (2, -1),
}
_SHORT = {word[0].upper(): word for word in _SIGNS}


def read_nrrd(stream: IO[bytes], name: str, *, path: str | None, frame: int | None, voxel_limit: int) -> Volume:
    """The volume of a file.

    Args:
        stream: The file's content.
        name: How to call it in messages.
        path: Where the file lies, for a header whose data lie in another file; None for bytes.
        frame: Which volume of a file with a fourth axis; None takes the first and notes it.
        voxel_limit: The most voxels that are taken.

    Raises:
        InputError: the file is damaged or truncated, places no volume in space, or has several volumes or too many
            voxels.
        MissingExtraError: pynrrd is not installed.
    """
    try:
        import nrrd
    except ImportError:
        raise MissingExtraError("nrrd", "medical") from None
    with quiet():
        try:
            stream.seek(0)
            header: dict[str, Any] = dict(nrrd.read_header(stream))
            sizes = [int(n) for n in header["sizes"]]
        except Exception as error:
            raise InputError(
                name, f"damaged or truncated NRRD header ({' '.join(told(error).split())[:200]})"
            ) from error
        count = int(np.prod(sizes, dtype=object)) if sizes else 0
        if count < 1 or min(sizes) < 1 or count > voxel_limit:
            raise InputError(name, f"has {' x '.join(map(str, sizes))} voxels", f"1 to {voxel_limit} are allowed")
        if path is None and ("data file" in header or "datafile" in header):
            raise InputError(name, "is a header whose data lie in another file", "give the header's path")
        try:
            values = nrrd.read_data(header, stream, path)
        except Exception as error:
            raise InputError(name, f"damaged or truncated NRRD data ({' '.join(told(error).split())[:200]})") from error
    try:
        spatial, affine, notes = _placed(header, len(sizes))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise InputError(name, f"has a space that cannot be read ({' '.join(told(error).split())[:200]})") from error
    others = [axis for axis in range(len(sizes)) if axis not in spatial]
    values, chosen = pick_frame(values.transpose(*spatial, *others), name, frame)
    return Volume(name, values, affine, "NRRD", None, False, (*notes, *chosen))


def _placed(header: dict[str, Any], axes: int) -> tuple[list[int], np.ndarray, list[str]]:
    """The axes that lie in space, the affine to RAS mm, and notes."""
    affine, notes = np.eye(4), []
    directions = header.get("space directions")
    if directions is None:
        steps = np.asarray(header.get("spacings", [1.0] * axes), float)
        spatial = list(range(min(axes, 3)))
        scale = np.array([abs(steps[a]) if a < len(steps) else 1.0 for a in range(3)])
        scale[~np.isfinite(scale) | (scale == 0)] = 1.0
        affine[:3, :3] = np.diag(scale)
        return spatial, affine, ["the file tells no orientation: its axes are taken as right, anterior, superior"]
    rows = {a: np.asarray(row, float) for a, row in enumerate(directions) if row is not None}
    rows = {a: row for a, row in rows.items() if np.isfinite(row).all()}
    if len(rows) not in (2, 3):
        raise ValueError(f"{len(rows)} axes have directions, not 3")
    to_ras, columns = _to_ras(str(header.get("space", "")), notes), list(rows.values())
    if len(columns) == 2:
        columns.append(np.cross(columns[0], columns[1]) / (np.linalg.norm(columns[0]) or 1.0))
    affine[:3, :3] = to_ras @ np.stack(columns, 1)
    origin = header.get("space origin")
    affine[:3, 3] = to_ras @ (np.zeros(3) if origin is None else np.asarray(origin, float)[:3])
    return list(rows), affine, notes


def _to_ras(space: str, notes: list[str]) -> np.ndarray:
    """The matrix from a space ("left-posterior-superior", "LPS" ...) to right, anterior, superior."""
    space = space.split("-time")[0]
    words = space.split("-") if "-" in space else [_SHORT.get(letter, "") for letter in space[:3]]
    matrix = np.zeros((3, 3))
    if len(words) != 3 or any(word not in _SIGNS for word in words):
        notes.append("the file tells no orientation: its axes are taken as right, anterior, superior")
        return np.eye(3)
    for column, word in enumerate(words):
        row, sign = _SIGNS[word]
        matrix[row, column] = sign
    return matrix
