"""Points: any file or array that holds a point cloud or a mesh, as one kind of thing."""

import io
import math
import zipfile
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np

from unimodal.errors import InputError, MissingExtraError
from unimodal.reading.cloud import Cloud
from unimodal.reading.mesh_file import read_mesh
from unimodal.reading.opening import open_stream, source_name, told
from unimodal.reading.pcd import read_pcd
from unimodal.reading.ply import read_ply
from unimodal.reading.point_text import read_point_text

__all__ = ["read_points"]

LARGEST = 1e100  # of coordinates: squares of more than this overflow
MOST_COLUMNS = 16
_ARRAYS = ("points", "xyz", "positions", "pos", "coordinates", "coords", "point_cloud", "pc", "vertices", "arr_0")
_FOREIGN = (
    (b"LASF", "a LAS or LAZ file", "save it as PLY, PCD or XYZ (laspy, PDAL or CloudCompare do)"),
    (b"ASTM-E57", "an E57 file", "save it as PLY, PCD or XYZ (pye57 or CloudCompare do)"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", "give the array of one cloud (h5py reads it)"),
)


def read_points(source: Any) -> Cloud:
    """Read PLY, PCD, OBJ, STL, OFF, GLB, lists of points (XYZ, PTS, CSV, TXT), NPY, NPZ, or an array (N, 3 or more).

    What a file is, its content says; the ending of its name matters to text alone. Points of PLY and PCD files whose
    three coordinates are all NaN are a scanner's "no return" and left out.

    Args:
        source: A path, encoded bytes, a binary file object, a numpy array, a tensor or nested lists.

    Raises:
        InputError: it cannot be opened, is no cloud or mesh, is damaged or truncated, is empty, or has coordinates
            that are not finite or beyond 1e100.
        MissingExtraError: a GLB file without trimesh.
    """
    name = source_name(source)
    try:
        if isinstance(source, list | tuple) or (hasattr(source, "shape") and hasattr(source, "dtype")):
            return _checked(_of_array(_as_array(source, name), name, "array"), name)
        with ExitStack() as files:
            stream = open_stream(source, files, what="a point cloud", also="an array (N, 3)")
            content = stream.read()
        if not content:
            raise InputError(name, "is empty (0 bytes)", "a point cloud has at least two points")
        return _checked(_decoded(content, str(name).lower(), name), name)
    except (InputError, MissingExtraError):
        raise
    except Exception as error:
        raise InputError(name, f"cannot be read as a point cloud ({told(error)})") from error


def _decoded(content: bytes, ending: str, name: str) -> Cloud:
    for magic, what, remedy in _FOREIGN:
        if content.startswith(magic):
            raise InputError(name, f"is {what}, which is not read here", remedy)
    if content[:4] in (b"ply\n", b"ply\r"):
        return read_ply(content, name)
    pcd = ending.endswith(".pcd") and b"FIELDS" in content[:4096]
    if pcd or content.startswith((b"# .PCD", b"#.PCD", b"VERSION")):
        return read_pcd(content, name)
    if content.startswith(b"\x93NUMPY"):
        return _of_array(_npy(content, name), name, "NPY")
    if content.startswith(b"PK\x03\x04"):
        return _of_array(_npz(content, name), name, "NPZ")
    if content.startswith(b"glTF"):
        return read_mesh(content, "glb", name)
    if content.lstrip()[:5].startswith((b"OFF", b"COFF", b"NOFF", b"STOFF", b"CNOFF")):
        return read_mesh(content.lstrip(), "off", name)
    binary_stl = len(content) > 84 and len(content) == 84 + 50 * int.from_bytes(content[80:84], "little")
    if ending.endswith(".stl") or binary_stl or (content.lstrip()[:5] == b"solid" and b"facet" in content[:4096]):
        return read_mesh(content, "stl", name)
    if ending.endswith(".obj") or _like_obj(content[:8192]):
        return read_mesh(content, "obj", name)
    for suffix, kind in ((".ply", "PLY"), (".pcd", "PCD"), (".glb", "GLB"), (".off", "OFF"), (".npy", "NPY")):
        if ending.endswith(suffix):
            raise InputError(name, f"is no {kind} file", f"it begins with {content[:8]!r}")
    return read_point_text(content, name)


def _like_obj(start: bytes) -> bool:
    words = [line.split()[:1] for line in start.splitlines()]
    known = (b"v", b"vn", b"vt", b"f", b"o", b"g", b"s", b"mtllib", b"usemtl")
    return [b"v"] in words and all(not word or word[0] in known or word[0].startswith(b"#") for word in words[:-1])


def _npy(content: bytes, name: str) -> np.ndarray:
    """An array, after its header was compared with the size of what follows."""
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(stream)
        if dtype.hasobject:
            raise InputError(name, "holds Python objects, which are never opened", "save an array of numbers")
        needed, found = math.prod(shape) * dtype.itemsize, len(content) - stream.tell()
        if needed > found:
            raise InputError(name, f"has {found} of the {needed} bytes of its header", "it is truncated")
        return np.load(io.BytesIO(content), allow_pickle=False)
    except InputError:
        raise
    except Exception as error:  # the header is Python source to its reader, so nearly any
        raise InputError(name, f"is a damaged NPY file ({told(error)})") from error


def _npz(content: bytes, name: str) -> np.ndarray:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = {m.filename.removesuffix(".npy"): m for m in archive.infolist() if m.filename.endswith(".npy")}
            known = [key for key in _ARRAYS if key in members]
            if not known and len(members) != 1:
                found = ", ".join(members) or "none"
                raise InputError(name, f"has no array of points (its arrays: {found})", "call it 'points'")
            member = members[known[0] if known else next(iter(members))]
            if member.file_size > 1 << 31:
                raise InputError(name, f"has an array of {member.file_size} bytes", "2 GiB are allowed")
            return _npy(archive.read(member), name)
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(name, f"is a damaged NPZ file ({told(error)})") from error


def _as_array(source: Any, name: str) -> np.ndarray:
    detached = source.detach().cpu() if hasattr(source, "detach") else source
    try:
        return np.asarray(detached.float() if str(getattr(detached, "dtype", "")) == "torch.bfloat16" else detached)
    except (ValueError, TypeError) as error:
        raise InputError(name, f"is no array of points ({told(error)})", "give numbers of shape (N, 3)") from error


def _of_array(array: np.ndarray, name: str, kind: str) -> Cloud:
    if array.dtype.kind not in "fiub" or array.dtype.kind == "b":
        raise InputError(name, f"holds values of the type {array.dtype}", "give numbers of shape (N, 3)")
    if array.ndim != 2 or array.shape[1] < 3 or array.shape[1] > MOST_COLUMNS:
        turned = array.ndim == 2 and array.shape[0] in (3, 4, 6)
        remedy = "transpose it" if turned else "points are (N, 3), or (N, 6) with colours"
        raise InputError(name, f"has the shape {tuple(array.shape)}", remedy)
    rgb = None
    if array.shape[1] >= 6:
        last = array[:, 3:6].astype(np.float32)
        low, high = last.min(initial=0.0), last.max(initial=0.0)
        rgb = None if low < 0 or high > 255 or not np.isfinite(last).all() else last / (255.0 if high > 1 else 1.0)
    return Cloud(array[:, :3].astype(np.float64), kind, rgb)


def _checked(cloud: Cloud, name: str) -> Cloud:
    xyz = cloud.xyz
    if cloud.faces is None and cloud.format.startswith(("PLY", "PCD")):
        measured = ~np.isnan(xyz).all(-1)
        if not measured.all():
            rgb = None if cloud.rgb is None else cloud.rgb[measured]
            cloud = replace(cloud, xyz=xyz[measured], rgb=rgb, unmeasured=int((~measured).sum()))
            xyz = cloud.xyz
    if not len(xyz):
        lost = f" ({cloud.unmeasured} without coordinates)" if cloud.unmeasured else ""
        raise InputError(name, f"has no points{lost}")
    finite = np.isfinite(xyz).all(-1)
    if not finite.all():
        first, bad = int(np.flatnonzero(~finite)[0]), int((~finite).sum())
        cause = f"has {bad} points with coordinates that are not finite (the first is point {first + 1})"
        raise InputError(name, cause, "leave these points out")
    if np.abs(xyz).max() > LARGEST:
        raise InputError(name, f"has coordinates up to {np.abs(xyz).max():.3g}", f"at most {LARGEST:.0e} is allowed")
    return cloud
