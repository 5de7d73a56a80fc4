"""Cube: hyperspectral pictures of any file form as rows x columns x bands, read where they are asked for.

Axes: Y rows, X columns, B bands.
"""

import os
import zipfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unimodal.errors import InputError
from unimodal.reading.envi import EnviFile, open_envi
from unimodal.reading.matlab_arrays import read_matlab_arrays
from unimodal.reading.opening import open_stream, source_name, told
from unimodal.reading.tiff_bands import read_tiff_bands

__all__ = ["AXES", "Cube", "open_cube"]

AXES = {"last": 2, "first": 0, "middle": 1}
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True, eq=False)
class Cube:
    """A hyperspectral picture.

    Args:
        name: How to call it in messages.
        values: (Y, X, B), real numbers as they are stored; of large files a view that reads what is looked at.
        wavelengths: (B,) nm, where the source states them.
        good: (B,) boolean, False for bands that the source marks as bad, where it says so.
        ignore: The value that stands for no data, or None.
    """

    name: str
    values: np.ndarray
    wavelengths: np.ndarray | None = None
    good: np.ndarray | None = None
    ignore: float | None = None


def open_cube(source: Any, *, bands: str = "last", array: str | None = None) -> Cube:
    """A cube from a file or an array.

    Args:
        source: A path of an ENVI header or of the raw file beside one; a path, bytes or binary file of NPY, NPZ, MAT
            (version 5) or TIFF (bands as samples of a pixel or as pages); an array; or a mapping with ``cube`` and
            optionally ``wavelengths`` (nm), ``good`` and ``ignore``.
        bands: Which axis of an array, of NPY, NPZ and MAT are the bands: last, first or middle. The other two are rows
            and columns in this order. ENVI and TIFF say it themselves.
        array: The name of the array in an NPZ or MAT file that has several of three axes.

    Raises:
        InputError: it cannot be opened, is none of these, is damaged or truncated, contradicts itself, has not three
            axes, is empty, or holds no real numbers.
    """
    name = source_name(source)
    if isinstance(source, Mapping):
        return _of_mapping(source, bands)
    if isinstance(source, np.ndarray) or (hasattr(source, "__array__") and not isinstance(source, str | bytes)):
        return Cube(name, _checked(np.asarray(source), name, bands))
    if isinstance(source, str | os.PathLike) and (envi := open_envi(Path(os.fsdecode(source)))) is not None:
        return _of_envi(envi)
    with ExitStack() as files:
        stream = open_stream(source, files, what="a hyperspectral cube", also="an array, a mapping")
        head = stream.read(132)
        stream.seek(-len(head), os.SEEK_CUR)
        if not head.strip(b"\0 \r\n\t"):
            raise InputError(name, "is empty" if not head else "begins with nothing but zeros", _FORMS)
        try:
            if head.startswith(_TIFF):
                return Cube(name, _checked(read_tiff_bands(stream.read(), name), name, "last"))
            if head.startswith(b"\x93NUMPY"):
                on_disk = isinstance(source, str | os.PathLike)
                held = {"": np.load(os.fsdecode(source), mmap_mode="r") if on_disk else np.load(stream)}
            elif head.startswith(b"PK\x03\x04"):
                held = _npz(stream, array)
            elif head.startswith(b"\x89HDF") or head.startswith(b"MATLAB 7.3"):
                raise InputError(name, "is an HDF5 file (MATLAB 7.3)", "save it with -v7, as NPY or as ENVI")
            elif head.startswith(b"MATLAB 5.0") or head[126:128] in (b"IM", b"MI"):
                held = read_matlab_arrays(stream.read())
            else:
                raise InputError(name, f"is none of the known forms (it begins with {head[:8]!r})", _FORMS)
        except InputError as error:
            raise InputError(name, error.cause, error.remedy) from None
        except Exception as error:  # decoders raise nearly anything on bad data
            raise InputError(name, f"is damaged or truncated ({told(error)})", "give the whole file") from error
        return Cube(name, _checked(_only(held, name, array), name, bands))


_FORMS = "give ENVI, NPY, NPZ, MAT or TIFF"


def _npz(stream: Any, array: str | None) -> dict[str, np.ndarray]:
    """The arrays of an archive by name, or the one that is asked for."""
    with zipfile.ZipFile(stream) as archive:
        names = [name for name in archive.namelist() if name.endswith(".npy")]
        held = {}
        for member in names:
            title = member.removesuffix(".npy")
            if array in (None, title):
                with archive.open(member) as file:
                    held[title] = np.lib.format.read_array(file, allow_pickle=False)
        if not held:
            raise InputError("", f"has no array {array!r}" if names else "is an archive without arrays", _FORMS)
        return held


def _only(held: Mapping[str, np.ndarray], name: str, array: str | None) -> np.ndarray:
    if array is not None and "" not in held:
        if array not in held:
            raise InputError(name, f"has no array {array!r}", f"it has {', '.join(held) or 'none'}")
        return held[array]
    if len(held) == 1:
        return next(iter(held.values()))
    cubes = {title: value for title, value in held.items() if value.ndim == 3}
    if len(cubes) != 1:
        shapes = ", ".join(f"{title} {value.shape}" for title, value in (cubes or held).items())
        cause = f"has {len(cubes) or 'no'} arrays of three axes" + (f" ({shapes})" if shapes else "")
        raise InputError(name, cause, "say which one with array=" if cubes else "a cube has rows, columns and bands")
    return next(iter(cubes.values()))


def _checked(values: np.ndarray, name: str, bands: str) -> np.ndarray:
    if values.ndim == 4 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 3:
        cause = f"an array of shape {values.shape} is no cube"
        raise InputError(name, cause, "give rows, columns and bands; a single spectrum is (1, 1, bands)")
    if values.dtype.kind not in "iufb":
        raise InputError(name, f"holds {values.dtype}, not real numbers", "give integers or floats")
    if not values.size:
        raise InputError(name, f"has no values (its shape is {values.shape})")
    return np.moveaxis(values, AXES[bands], 2)


def _of_mapping(source: Mapping[str, Any], bands: str) -> Cube:
    if "cube" not in source:
        raise InputError("mapping", f"has no 'cube' (it has {', '.join(map(str, source)) or 'nothing'})")
    try:
        values = _checked(np.asarray(source["cube"]), "mapping", bands)
        waves, good = (None if source.get(key) is None else np.asarray(source[key]) for key in ("wavelengths", "good"))
        waves = None if waves is None else waves.astype(np.float64)
        good = None if good is None else good.astype(bool)
        ignore = None if source.get("ignore") is None else float(source["ignore"])
    except (ValueError, TypeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError("mapping", f"its values are no arrays of numbers ({told(error)})") from error
    for title, given in (("wavelengths", waves), ("good", good)):
        if given is not None and given.shape != (values.shape[2],):
            raise InputError("mapping", f"has {given.size} {title} for {values.shape[2]} bands")
    return Cube(f"array {values.shape}", values, waves, good, ignore)


def _of_envi(envi: EnviFile) -> Cube:
    return Cube(envi.name, envi.values, envi.wavelengths, envi.good, envi.ignore)
