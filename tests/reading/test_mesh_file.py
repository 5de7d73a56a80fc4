"""OBJ, STL, OFF and GLB files, written here and by trimesh."""

import struct
from typing import Any

import numpy as np
import pytest

from unimodal.errors import InputError
from unimodal.reading.mesh_file import read_mesh

XYZ = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
FACES = [[0, 1, 2], [0, 3, 1]]
OBJ = b"# a tetrahedron's part\nmtllib a.mtl\no part\n" + b"".join(b"v %g %g %g\n" % tuple(v) for v in XYZ)
OBJ += b"vn 0 0 1\nvt 0 0\ng side\nusemtl red\nf 1/1/1 2/1/1 3/1/1\nf 1//1 4//1 2//1\n"
OFF = b"OFF\n# counts\n4 2 0\n" + b"".join(b"%g %g %g\n" % tuple(v) for v in XYZ) + b"3 0 1 2 255 0 0\n3 0 3 1\n"
TRIANGLES = [[XYZ[i] for i in face] for face in FACES]
STL = b"solid".ljust(80) + struct.pack("<I", 2)
STL += b"".join(struct.pack("<12fH", 0, 0, 1, *np.ravel(t), 0) for t in TRIANGLES)
STL_TEXT = b"solid part\n"
for triangle in TRIANGLES:
    corners = b"".join(b"vertex %g %g %g\n" % tuple(v) for v in triangle)
    STL_TEXT += b"facet normal 0 0 1\nouter loop\n" + corners + b"endloop\nendfacet\n"
STL_TEXT += b"endsolid part\n"


def corners_of(cloud):
    return cloud.xyz[cloud.faces].tolist()


@pytest.mark.parametrize(
    "content, kind",
    [
        (OBJ, "obj"),
        (OBJ.replace(b"\n", b"\r\n"), "obj"),
        (OBJ.replace(b"f 1//1 4//1 2//1", b"f -4 -1 \\\n-3"), "obj"),
        (OFF, "off"),
        (OFF.replace(b"OFF\n# counts\n", b"OFF"), "off"),
        (STL, "stl"),
        (STL + b"\0\0", "stl"),
        (b"no".ljust(80) + STL[80:], "stl"),
        (STL_TEXT, "stl"),
    ],
)
def test_triangles_are_those_that_were_written(content, kind):
    assert corners_of(read_mesh(content, kind, "part")) == np.array(TRIANGLES).tolist()


@pytest.mark.parametrize("top", [1, 255])
def test_colours_of_vertices_are_read(top):
    rgb = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0.2, 0.4, 0.6]])
    rows = b"".join(b"%g %g %g %g %g %g" % (*v, *(top * c)) + b"\n" for v, c in zip(XYZ, rgb, strict=True))
    obj = b"".join(b"v " + row + b"\n" for row in rows.splitlines()) + b"f 1 2 3\n"
    off = b"COFF\n4 1 0\n" + rows + b"3 0 1 2\n"
    for content, kind in ((obj, "obj"), (off, "off")):
        found: Any = read_mesh(content, kind, "part").rgb
        np.testing.assert_allclose(found, rgb, atol=1e-6)


def test_vertices_without_faces_are_a_cloud():
    cloud: Any = read_mesh(OBJ.partition(b"vn")[0], "obj", "part")
    assert (cloud.xyz.tolist(), cloud.faces) == (XYZ.tolist(), None)


@pytest.mark.parametrize("kind", ["obj", "stl", "off", "glb"])
def test_files_of_another_writer_are_read(kind):
    trimesh = pytest.importorskip("trimesh")
    ball = trimesh.creation.icosphere(subdivisions=1)
    written = ball.export(file_type=kind)
    cloud: Any = read_mesh(written.encode() if isinstance(written, str) else written, kind, "ball")
    found = np.sort(cloud.xyz[cloud.faces].mean(1), axis=0)
    np.testing.assert_allclose(found, np.sort(ball.triangles_center, axis=0), atol=1e-6)


def test_pieces_of_a_scene_are_put_where_the_scene_has_them():
    trimesh = pytest.importorskip("trimesh")
    scene = trimesh.Scene()
    scene.add_geometry(trimesh.creation.box())
    scene.add_geometry(trimesh.creation.box(), transform=trimesh.transformations.translation_matrix([5, 0, 0]))
    cloud: Any = read_mesh(scene.export(file_type="glb"), "glb", "two boxes")
    assert (len(cloud.xyz), len(cloud.faces), cloud.xyz[:, 0].max()) == (16, 24, 5.5)


@pytest.mark.parametrize(
    "content, kind, cause",
    [
        (b"# nothing\n", "obj", "has no vertices"),
        (b"f 1 2 3\n", "obj", "has 1 faces and no vertices"),
        (OBJ + b"f 1 2 9\n", "obj", "face with vertex 8, of vertices 0 to 3"),
        (OBJ + b"f 0 1 2\n", "obj", "face with vertex 0 in line 14; OBJ counts vertices from 1"),
        (OBJ + b"f 1 two 3\n", "obj", "damaged face in line 14"),
        (OBJ + b"v 1 2\n", "obj", "has vertex 5 with 2 numbers; each one needs three"),
        (OBJ + b"v 1 2 three\n", "obj", "vertex that is no number"),
        (STL_TEXT[:-90], "stl", "ends within its triangles"),
        (b"no".ljust(80) + STL[80:-60], "stl", "has 0 of the 2 triangles of its header; it is truncated"),
        (b"no".ljust(80) + b"\xff\xff\xff\xff", "stl", "has 0 of the 4294967295 triangles"),
        (b"\x00\x01\x02", "stl", "is no STL file"),
        (OFF[:-20], "off", "has 5 of the 6 lines"),
        (b"OFF\n4\n", "off", "damaged OFF header"),
        (b"OFFSET 1 2\n1 2\n", "off", "damaged OFF header"),
        (OFF.replace(b"3 0 3 1", b"3 0 x 1"), "off", "damaged face"),
        (b"glTF" + bytes(30), "glb", "is damaged"),
    ],
)
def test_a_damaged_file_is_told_what_is_wrong_with_it(content, kind, cause):
    if kind == "glb":
        pytest.importorskip("trimesh")
    with pytest.raises(InputError, match=f"part: .*{cause}"):
        read_mesh(content, kind, "part")
