"""PLY files of every kind, written here word by word and by trimesh."""

import struct
from typing import Any

import numpy as np
import pytest

from unimodal.errors import InputError
from unimodal.reading.points import read_points

XYZ = np.array([[0.0, 0.5, -1.25], [1.0, 2.0, 3.0], [-4.0, 5.5, 6.0], [7.0, -8.0, 9.25]])
RGB = np.array([[255, 0, 10], [1, 2, 3], [40, 50, 60], [0, 255, 128]])
ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}


def ply(order="ascii", *, faces=(), line="\n", kind="float", extra=True, count=4, colour="uchar"):
    """A file with normals in front of and colours and a quality behind the coordinates."""
    head = ["ply", f"format {order} 1.0", "comment made by a test", "obj_info x", f"element vertex {count}"]
    head += ["property float nx"] if extra else []
    head += [f"property {kind} {axis}" for axis in "xyz"]
    head += [f"property {colour} {c}" for c in ("red", "green", "blue")] if extra else []
    head += ["property double quality"] if extra else []
    head += (
        [f"element face {len(faces)}", "property uchar flags", "property list uchar int vertex_indices"]
        if faces
        else []
    )
    head += ["end_header", ""]
    body = b""
    colours = RGB if colour == "uchar" else RGB / 255
    for xyz, rgb in zip(XYZ, colours, strict=True):
        if order == "ascii":
            row = [0.1, *xyz, *rgb, 0.7] if extra else list(xyz)
            body += " ".join(map(str, row)).encode() + line.encode()
        else:
            code = ORDERS[order] + ("f" if extra else "") + ("fff" if kind == "float" else "ddd")
            code += ({"uchar": "BBB", "float": "fff"}[colour] + "d") if extra else ""
            body += struct.pack(code, *([0.1, *xyz, *rgb, 0.7] if extra else xyz))
    for face in faces:
        if order == "ascii":
            body += " ".join(map(str, [3, len(face), *face])).encode() + line.encode()
        else:
            body += struct.pack(f"{ORDERS[order]}BB{len(face)}i", 3, len(face), *face)
    return line.join(head).encode() + body


@pytest.mark.parametrize("order", ["ascii", *ORDERS])
@pytest.mark.parametrize("line", ["\n", "\r\n"])
@pytest.mark.parametrize("kind", ["float", "double"])
@pytest.mark.parametrize("colour", ["uchar", "float"])
def test_coordinates_and_colours_are_found_among_other_properties(order, line, kind, colour):
    cloud: Any = read_points(ply(order, line=line, kind=kind, colour=colour))
    assert np.array_equal(cloud.xyz, XYZ)
    np.testing.assert_allclose(cloud.rgb, RGB / 255, atol=1e-6)
    assert cloud.faces is None
    assert cloud.xyz.dtype == np.float64


@pytest.mark.parametrize("order", ["ascii", *ORDERS])
@pytest.mark.parametrize(
    "faces, triangles",
    [
        ([(0, 1, 2), (1, 2, 3)], [(0, 1, 2), (1, 2, 3)]),
        ([(0, 1, 2, 3)], [(0, 1, 2), (0, 2, 3)]),
        ([(0, 1, 2), (0, 1, 2, 3), (3, 2, 1)], [(0, 1, 2), (3, 2, 1), (0, 1, 2), (0, 2, 3)]),
        ([(0, 1, 2), (0, 1)], [(0, 1, 2)]),
    ],
)
def test_faces_become_triangles(order, faces, triangles):
    cloud: Any = read_points(ply(order, faces=faces))
    assert [tuple(face) for face in cloud.faces] == triangles


def test_files_of_another_writer_are_read():
    trimesh = pytest.importorskip("trimesh")
    box = trimesh.creation.box()
    box.visual.vertex_colors = np.arange(32, dtype=np.uint8).reshape(8, 4)
    for encoding in ("binary", "ascii"):
        cloud: Any = read_points(box.export(file_type="ply", encoding=encoding))
        assert np.allclose(cloud.xyz, box.vertices)
        assert np.array_equal(cloud.faces, box.faces)
        np.testing.assert_allclose(255 * cloud.rgb, box.visual.vertex_colors[:, :3], atol=1e-4)


def test_an_element_in_front_of_the_vertices_is_stepped_over():
    camera = b"ply\nformat ascii 1.0\nelement camera 1\nproperty list uchar float at\nelement vertex 1\n"
    camera += b"property float x\nproperty float y\nproperty float z\nend_header\n2 9 9\n1 2 3\n"
    assert read_points(camera).xyz.tolist() == [[1, 2, 3]]


def test_points_of_nan_alone_are_no_returns_and_one_nan_is_an_error():
    text = (
        b"ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    )
    cloud: Any = read_points(text + b"1 2 3\nnan nan nan\n4 5 6\n")
    assert (cloud.xyz.tolist(), cloud.unmeasured) == ([[1, 2, 3], [4, 5, 6]], 1)
    with pytest.raises(InputError, match=r"1 points with coordinates that are not finite \(the first is point 2\)"):
        read_points(text + b"1 2 3\n4 nan 6\n4 5 6\n")
    with pytest.raises(InputError, match=r"has no points \(3 without coordinates\)"):
        read_points(text + 3 * b"nan nan nan\n")


HEAD = b"ply\nformat binary_little_endian 1.0\n"
AXES = b"property float x\nproperty float y\nproperty float z\n"


@pytest.mark.parametrize(
    "content, cause",
    [
        (ply("binary_little_endian")[:-5], "has 3 of the 4 vertices of its header; it is truncated"),
        (ply("ascii")[:-12], "has 3 of the 4 vertices"),
        (ply("binary_big_endian", faces=[(0, 1, 2), (1, 2, 3)])[:-3], "has 1 of the 2 faces"),
        (ply("ascii", faces=[(0, 1, 2), (1, 2, 3)])[:-5], "has 1 of the 2 faces"),
        (ply()[:60], "header does not end"),
        (ply().replace(b"property float x", b"property decimal x"), "unknown type 'decimal'; PLY has char, uchar"),
        (ply().replace(b"property float z", b"property float w"), "vertices without z; it has nx, x, y, w"),
        (ply().replace(b"element vertex", b"element corner"), "without vertices .its elements: corner"),
        (ply().replace(b"format ascii", b"format utf8"), "damaged PLY header .the line 'format utf8 1.0'"),
        (ply().replace(b"format ascii 1.0\n", b""), "without a format line"),
        (ply().replace(b"0.5", b"half"), "something that is no number .*half"),
        (ply(faces=[(0, 1, 9)]), "face with vertex 9, of vertices 0 to 3"),
        (ply(faces=[(0, 1, -2)]), "face with vertex -2"),
        (HEAD + b"element vertex 0\n" + AXES + b"end_header\n", "has no points"),
        (
            b"ply\nformat ascii 1.0\nelement vertex 0\n"
            + AXES
            + b"element face 1\nproperty list uchar int vertex_indices\n"
            b"end_header\n3 0 1 2\n",
            "has 1 faces and no vertices",
        ),
        (HEAD + b"element vertex 4000000000\n" + AXES + b"end_header\nabc", "has 0 of the 4000000000 vertices"),
        (ply("ascii", count=10**12), r"has 4 of the 1000000000000 vertices"),
        (
            HEAD
            + b"element face 9000000000\nproperty list int int vertex_indices\nelement vertex 1\n"
            + AXES
            + b"end_header\n"
            + b"\xff\xff\xff\x7f",
            "of the 9000000000 faces",
        ),
        (HEAD + b"element vertex many\nend_header\n", "damaged PLY header .the line 'element vertex many'"),
    ],
)
def test_a_damaged_file_is_told_what_is_wrong_with_it(content, cause, tmp_path):
    path = tmp_path / "scan.ply"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"scan.ply: .*{cause}"):
        read_points(path)
