"""Mesh files: OBJ, STL and OFF read here, GLB and glTF through trimesh, as vertices and triangles."""

import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from unimodal.errors import InputError, MissingExtraError
from unimodal.reading.cloud import Cloud
from unimodal.reading.opening import told
from unimodal.reading.polygons import triangles

__all__ = ["read_mesh"]


def read_mesh(content: bytes, kind: str, name: str) -> Cloud:
    """The vertices, their colours if there are any, and the faces; bare points where a file has no faces.

    Args:
        content: Of the file.
        kind: ``obj``, ``stl``, ``off`` or ``glb``.
        name: Of the file, for messages.

    Raises:
        InputError: the file is damaged, truncated or without vertices.
        MissingExtraError: ``kind`` is glb and trimesh is not installed.
    """
    return {"obj": _obj, "stl": _stl, "off": _off, "glb": _glb}[kind](content, name)


def _obj(content: bytes, name: str) -> Cloud:
    vertices: list[list[bytes]] = []
    polygons: list[list[int]] = []
    text = content.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ")
    for number, line in enumerate(text.split(b"\n"), 1):
        words = line.split()
        if not words or words[0] not in (b"v", b"f"):
            continue
        if words[0] == b"v":
            vertices.append(words[1:])
            continue
        try:
            corners = [int(word.partition(b"/")[0]) for word in words[1:]]
        except ValueError:
            raise InputError(name, f"has a damaged face in line {number} ({line[:40]!r})") from None
        if 0 in corners:
            raise InputError(name, f"has a face with vertex 0 in line {number}", "OBJ counts vertices from 1")
        polygons.append([corner - 1 if corner > 0 else len(vertices) + corner for corner in corners])
    if polygons and not vertices:
        raise InputError(name, f"has {len(polygons)} faces and no vertices")
    table = _table([words[:6] if len(words) >= 6 else words[:3] for words in vertices], "vertex", name)
    rgb = _colours(table[:, 3:6]) if table.shape[1] == 6 else None
    return Cloud(table[:, :3], "OBJ", rgb, triangles(polygons, len(table), name))


def _stl(content: bytes, name: str) -> Cloud:
    count, found = int.from_bytes(content[80:84], "little"), (len(content) - 84) // 50
    text = content.lstrip().startswith(b"solid")
    if not text and len(content) < 84:
        raise InputError(name, "is no STL file", f"it begins with {content[:8]!r}")
    if not text or 0 < count <= found:
        if found < count:
            raise InputError(name, f"has {found} of the {count} triangles of its header", "it is truncated or no STL")
        rows = np.frombuffer(content, np.dtype([("xyz", "<f4", (4, 3)), ("attribute", "<u2")]), count, 84)
        corners, kind = rows["xyz"][:, 1:].reshape(-1, 3).astype(np.float64), "STL binary"
    else:
        corners = _table(re.findall(rb"vertex\s+(\S+)\s+(\S+)\s+(\S+)", content), "corner", name)
        if len(corners) % 3 or b"endsolid" not in content:
            raise InputError(name, f"ends within its triangles ({len(corners)} corners)", "it is truncated")
        kind = "STL ASCII"
    return Cloud(corners, kind, None, triangles(np.arange(len(corners)).reshape(-1, 3), len(corners), name))


def _off(content: bytes, name: str) -> Cloud:
    lines = [line.partition(b"#")[0].split() for line in content.splitlines()]
    lines = [words for words in lines if words]
    head = re.fullmatch(rb"(?:ST)?(C?)N?OFF(\d*)", lines[0][0])
    if head is None:
        raise InputError(name, "has a damaged OFF header", f"it begins with {content[:20]!r}")
    counts = [head[2], *lines[0][1:]] if head[2] else lines[0][1:]  # some files lack the line break behind OFF
    lines = lines[1:]
    if not counts:
        counts, lines = lines[0], lines[1:]
    try:
        points, faces = int(counts[0]), int(counts[1])
    except (ValueError, IndexError):
        raise InputError(name, "has a damaged OFF header (no counts)") from None
    if len(lines) < points + faces:
        raise InputError(name, f"has {len(lines)} of the {points + faces} lines of its header", "it is truncated")
    coloured = bool(head[1]) and all(len(words) >= 6 for words in lines[:points])
    table = _table([words[: 6 if coloured else 3] for words in lines[:points]], "vertex", name)
    try:
        polygons = [[int(word) for word in words[1 : 1 + int(words[0])]] for words in lines[points : points + faces]]
    except ValueError as error:
        raise InputError(name, f"has a damaged face ({error})") from None
    return Cloud(table[:, :3], "OFF", _colours(table[:, 3:6]) if coloured else None, triangles(polygons, points, name))


def _glb(content: bytes, name: str) -> Cloud:
    try:
        import trimesh
    except ImportError as error:
        raise MissingExtraError("trimesh", "shapes") from error
    try:
        scene: Any = trimesh.load_scene(io.BytesIO(content), file_type="glb")
        pieces = scene.dump()
    except Exception as error:
        raise InputError(name, f"is damaged ({told(error)})", "it begins like a GLB file") from error
    vertices, faces, before = [], [], 0
    for piece in pieces:
        vertices.append(np.asarray(piece.vertices, np.float64))
        if len(found := getattr(piece, "faces", ())):
            faces.append(np.asarray(found, np.int64) + before)
        before += len(vertices[-1])
    if not before:
        raise InputError(name, "has no vertices")
    xyz = np.concatenate(vertices)
    return Cloud(xyz, "GLB", None, triangles(np.concatenate(faces), len(xyz), name) if faces else None)


def _table(rows: Sequence[Sequence[bytes]], what: str, name: str) -> np.ndarray:
    """Rows of words as numbers, all of one width of at least three."""
    if not rows:
        raise InputError(name, "has no vertices")
    width = len(rows[0])
    if width < 3 or any(len(row) != width for row in rows):
        wrong = next(i for i, row in enumerate(rows) if len(row) != max(width, 3))
        raise InputError(name, f"has {what} {wrong + 1} with {len(rows[wrong])} numbers", "each one needs three")
    try:
        return np.array([float(word) for row in rows for word in row]).reshape(-1, width)
    except ValueError as error:
        raise InputError(name, f"has a {what} that is no number ({error})") from None


def _colours(values: np.ndarray) -> np.ndarray:
    top = 255.0 if values.max(initial=0.0) > 1 else 1.0
    return np.clip(values / top, 0.0, 1.0).astype(np.float32)
