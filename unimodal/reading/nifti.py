"""NIfTI: a .nii file, plain or gzipped, as a volume.

Source: the NIfTI-1 and NIfTI-2 headers (nifti1.h, nifti2.h); decoded by nibabel.
"""

from typing import Any

import numpy as np

from unimodal.errors import InputError, MissingExtraError
from unimodal.reading.opening import told
from unimodal.reading.quiet import quiet
from unimodal.reading.volume import Volume

__all__ = ["is_nifti", "read_nifti"]

_MAGIC = {348: slice(344, 348), 540: slice(4, 8)}  # by the size of the header
_TO_MM = {"meter": 1000.0, "mm": 1.0, "micron": 0.001}


def is_nifti(head: bytes) -> bool:
    """Whether a file that begins like this is NIfTI (or the header of a pair)."""
    return any(int.from_bytes(head[:4], o) in _MAGIC for o in ("little", "big"))


def read_nifti(content: bytes, name: str, *, frame: int | None, voxel_limit: int) -> Volume:
    """The volume of an unpacked file, scaled by its slope and intercept.

    Args:
        content: All bytes, not compressed.
        name: How to call it in messages.
        frame: Which volume of a file with a fourth axis; None takes the first and notes it.
        voxel_limit: The most voxels that are taken.

    Raises:
        InputError: it is no single NIfTI file, is truncated, has several volumes, no plain numbers or too many.
        MissingExtraError: nibabel is not installed.
    """
    try:
        import nibabel
    except ImportError:
        raise MissingExtraError("nibabel", "medical") from None
    size = next(n for n in _MAGIC if n in (int.from_bytes(content[:4], o) for o in ("little", "big")))
    magic = content[_MAGIC[size]]
    if magic[:3] not in (b"n+1", b"n+2"):
        pair = magic[:3] in (b"ni1", b"ni2")
        cause = "is the header of a pair without its voxels" if pair else "is no NIfTI file (its magic word is absent)"
        raise InputError(name, cause, "convert it to one .nii file" if pair else "")
    kind = nibabel.Nifti1Image if size == 348 else nibabel.Nifti2Image
    with quiet():
        try:
            image: Any = kind.from_bytes(content)
            header, affine = image.header, np.asarray(image.affine, float)
            shape = tuple(int(n) for n in image.shape)
            dtype = header.get_data_dtype()
            begin = int(image.dataobj.offset)
            unit = header.get_xyzt_units()[0]
            placed = int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
        except Exception as error:
            raise InputError(
                name, f"damaged or truncated NIfTI header ({' '.join(told(error).split())[:200]})"
            ) from error
        if dtype.kind not in "biuf":
            what = "complex" if dtype.kind == "c" else "colour"
            raise InputError(name, f"has {what} voxels", "plain numbers are read")
        count = int(np.prod(shape, dtype=object)) if shape else 0
        if count < 1 or min(shape) < 1 or count > voxel_limit:
            raise InputError(name, f"has {' x '.join(map(str, shape))} voxels", f"1 to {voxel_limit} are allowed")
        if len(content) - begin < count * dtype.itemsize:
            raise InputError(
                name, f"is truncated: {max(0, len(content) - begin)} of {count * dtype.itemsize} bytes of voxels"
            )
        try:
            values = np.asanyarray(image.dataobj)
        except Exception as error:
            raise InputError(name, f"damaged NIfTI data ({' '.join(told(error).split())[:200]})") from error
    notes = () if placed else ("the file tells no orientation: its axes are taken as right, anterior, superior",)
    if not placed:
        affine = np.diag([*(abs(z) or 1.0 for z in np.diag(affine)[:3]), 1.0])
    affine = affine * np.array([[_TO_MM.get(unit, 1.0)]] * 3 + [[1.0]])
    values, chosen = pick_frame(values, name, frame)
    return Volume(name, values, affine, "NIfTI", None, False, (*notes, *chosen))


def pick_frame(values: np.ndarray, name: str, frame: int | None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Three axes of three to many: a plane gets one slice, axes of length one go, of several volumes one is taken."""
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim == 2:
        values = values[:, :, None]
    if values.ndim == 4:
        count = values.shape[3]
        if frame is None:
            return values[..., 0], (f"the first of {count} volumes; frame=0 .. {count - 1} takes another",)
        if not 0 <= frame < count:
            raise InputError(name, f"holds {count} volumes and no frame {frame}", f"0 to {count - 1} exist")
        return values[..., frame], (f"volume {frame} of {count}",)
    return values, ()
