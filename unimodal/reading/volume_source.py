"""Volume source: any file, folder, list of files or array that holds a scan, told apart by content, as a volume."""

import gzip
import io
import os
import zipfile
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import numpy as np

from unimodal.errors import InputError
from unimodal.reading.dicom import BEGINNINGS, is_dicom
from unimodal.reading.dicom_series import read_series
from unimodal.reading.nifti import is_nifti, read_nifti
from unimodal.reading.nrrd_file import read_nrrd
from unimodal.reading.opening import open_stream, source_name, told
from unimodal.reading.volume import Volume

__all__ = ["read_volume", "unzipped"]

_FILES = 20_000  # of a folder or an archive
_BYTES = 8  # of the widest voxel


def read_volume(source: Any, *, frame: int | None = None, voxel_limit: int) -> Volume:
    """A scan in real units on its own grid.

    Args:
        source: A path or bytes of a DICOM object, NIfTI or NRRD file (gzipped or not), or a zip archive of a DICOM
            series; a folder with one, at any depth; a list of such files; an array (z, y, x), superior, anterior and
            right; (array, spacing in mm of z, y, x) or (array, 4 x 4 affine from its indices to RAS mm).
        frame: Which volume where a source holds several; None takes the first and notes it.
        voxel_limit: The most voxels that are decoded.

    Raises:
        InputError: the source cannot be read as one volume; the message names the file.
        MissingExtraError: the package that reads the format is not installed.
    """
    name = source_name(source)
    if isinstance(source, np.ndarray):
        return _of_array(source, (1.0, 1.0, 1.0), ("the spacing is not told: 1 mm is assumed",))
    if isinstance(source, tuple) and len(source) == 2 and isinstance(source[0], np.ndarray):
        return _of_array(*source)
    if isinstance(source, list | tuple):
        if not source:
            raise InputError("no files", "were given", "give the files of one series")
        entries = [(source_name(one), one) for one in source]
        return read_series(entries, name=f"{entries[0][0]} ...", frame=frame, voxel_limit=voxel_limit)
    if isinstance(source, str | os.PathLike) and os.path.isdir(source):
        entries = [(str(path), path) for path in _files(Path(os.fsdecode(source)), name)]
        return read_series(entries, name=name, frame=frame, voxel_limit=voxel_limit)
    with ExitStack() as files:
        stream = unzipped(open_stream(source, files, what="a volume", also="a folder, an array"), name, voxel_limit)
        head = stream.read(560)
        stream.seek(0)
        if not head:
            raise InputError(name, "is empty (0 bytes)")
        if head[:4] == b"PK\x03\x04":
            return read_series(_members(stream, name, voxel_limit), name=name, frame=frame, voxel_limit=voxel_limit)
        if head[:4] == b"NRRD":
            path = os.fsdecode(source) if isinstance(source, str | os.PathLike) else None
            return read_nrrd(stream, name, path=path, frame=frame, voxel_limit=voxel_limit)
        dicom = is_dicom(head)
        if is_nifti(head) and not dicom:
            return read_nifti(stream.read(), name, frame=frame, voxel_limit=voxel_limit)
        if not dicom and head[:2] not in BEGINNINGS:
            begin = f"it begins with {head[:8]!r}"
            raise InputError(name, f"is no volume ({begin})", "DICOM, NIfTI and NRRD files are read")
        return read_series([(name, stream.read())], name=name, frame=frame, voxel_limit=voxel_limit)


def unzipped(stream: IO[bytes], name: str, limit: int) -> IO[bytes]:
    """The content of a gzipped stream, of any other the stream itself.

    Raises:
        InputError: the data are damaged, truncated or unpack to more than ``limit`` voxels need.
    """
    packed = stream.read(2) == b"\x1f\x8b"
    stream.seek(0)
    if not packed:
        return stream
    most = _BYTES * limit + 65_536
    try:
        with gzip.GzipFile(fileobj=stream) as file:
            content = file.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(name, f"damaged or truncated gzip data ({told(error)})") from error
    if len(content) > most:
        raise InputError(name, f"unpacks to more than {most} bytes", f"{limit} voxels are allowed")
    return io.BytesIO(content)


def _of_array(array: np.ndarray, place: Any, notes: tuple[str, ...] = ()) -> Volume:
    name = source_name(array)
    try:
        place = np.asarray(place, float)
    except (TypeError, ValueError):
        place = np.zeros(0)
    if place.shape == (4, 4):
        return Volume(name, array, place, "array", notes=notes)
    if place.shape != (3,) or not (place > 0).all():
        raise InputError(
            name, f"has a place of shape {place.shape}", "give the spacing of z, y, x in mm, or a 4 x 4 affine"
        )
    affine = np.eye(4)
    affine[:3, :3] = np.diag(place)[::-1]
    return Volume(name, array, affine, "array", notes=notes)


def _files(folder: Path, name: str) -> list[Path]:
    found = []
    for place, folders, names in os.walk(folder):
        folders.sort()
        found += [Path(place) / one for one in sorted(names) if not one.startswith(".")]
        if len(found) > _FILES:
            raise InputError(name, f"holds more than {_FILES} files", "give the folder of one series")
    return [path for path in found if path.is_file()]


def _members(stream: IO[bytes], name: str, limit: int) -> list[tuple[str, bytes]]:
    most, members = 2 * limit + 2**26, []
    try:
        with zipfile.ZipFile(stream) as archive:
            held = [info for info in archive.infolist() if not info.is_dir()]
            if len(held) > _FILES or sum(info.file_size for info in held) > most:
                raise InputError(name, f"unpacks to {len(held)} files of more than {most} bytes", "give one series")
            members = [(f"{name}/{info.filename}", archive.read(info)) for info in held]
    except InputError:
        raise
    except Exception as error:  # also passwords and methods that zipfile does not know
        raise InputError(name, f"damaged or unreadable zip archive ({told(error)})") from error
    return members
