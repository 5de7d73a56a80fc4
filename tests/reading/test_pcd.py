"""PCD files of the three kinds, written here."""

import struct
from typing import Any

import numpy as np
import pytest

from unimodal.errors import InputError
from unimodal.reading.points import read_points

XYZ = np.array([[0.0, 0.5, -1.25], [1.0, 2.0, 3.0], [-4.0, 5.5, 6.0]])
BITS = [0x0AFF10, 0x000102, 0xFFFFFF]
HEAD = """# .PCD v0.7 - Point Cloud Data file format
VERSION 0.7
FIELDS _ x y z rgb
SIZE 1 4 4 4 4
TYPE U F F F {kind}
COUNT 3 1 1 1 1
WIDTH 3
HEIGHT 1
VIEWPOINT 0 0 0 1 0 0 0
POINTS 3
DATA {data}
"""


def lzf(data):
    """Compressed as far as needed for a test: runs of one byte as a copy of the byte before, all else as it is."""
    out, at = b"", 0
    while at < len(data):
        run = 1
        while at + run < len(data) and run < 200 and data[at + run] == data[at]:
            run += 1
        out += bytes([0, data[at]])
        if run >= 10:
            out += bytes([7 << 5, run - 1 - 9, 0])
            at += run
        else:
            at += 1
    return out


def pcd(data, kind="U", xyz=XYZ):
    head = HEAD.format(data=data, kind=kind).encode()
    if data == "ascii":
        shown = [struct.unpack("f", struct.pack("I", bits))[0] if kind == "F" else bits for bits in BITS]
        return head + "".join(f"9 9 9 {x} {y} {z} {c!r}\n" for (x, y, z), c in zip(xyz, shown, strict=True)).encode()
    if data == "binary":
        rows = zip(xyz, BITS, strict=True)
        return head + b"".join(b"\0\0\0" + struct.pack("<fffI", *row, bits) for row, bits in rows)
    columns = bytes(9) + b"".join(struct.pack("<3f", *column) for column in xyz.T) + struct.pack("<3I", *BITS)
    packed = lzf(columns)
    return head + struct.pack("<II", len(packed), len(columns)) + packed


@pytest.mark.parametrize("data", ["ascii", "binary", "binary_compressed"])
@pytest.mark.parametrize("kind", ["U", "F"])
def test_coordinates_and_packed_colours_are_found_among_other_fields(data, kind):
    cloud: Any = read_points(pcd(data, kind))
    assert np.array_equal(cloud.xyz, XYZ)
    expected = [[bits >> 16, bits >> 8 & 255, bits & 255] for bits in BITS]
    np.testing.assert_allclose(255 * cloud.rgb, expected, atol=1e-4)


def test_long_copies_are_decompressed():
    xyz = np.zeros((3, 3))
    assert len(pcd("binary_compressed", xyz=xyz)) < len(pcd("binary", xyz=xyz))
    assert np.array_equal(read_points(pcd("binary_compressed", xyz=xyz)).xyz, xyz)


@pytest.mark.parametrize("data", ["ascii", "binary"])
def test_pixels_without_a_return_are_left_out_and_counted(data):
    xyz = np.concatenate([XYZ[:2], np.full((1, 3), np.nan)])
    cloud: Any = read_points(pcd(data, xyz=xyz))
    assert (len(cloud.xyz), len(cloud.rgb), cloud.unmeasured) == (2, 2, 1)


@pytest.mark.parametrize(
    "content, cause",
    [
        (pcd("binary")[:-1], "has 2 of the 3 points of its header; it is truncated"),
        (pcd("ascii")[:-9], "has 2 of the 3 points"),
        (pcd("binary_compressed")[:-2], "damaged compressed PCD body"),
        (pcd("binary_compressed")[:-20] + bytes([255, 255, 255]) + bytes(17), "damaged compressed PCD body"),
        (pcd("binary").replace(b"POINTS 3", b"POINTS 4000000000"), "has 3 of the 4000000000 points"),
        (pcd("binary_compressed").replace(b"POINTS 3", b"POINTS 4000000000"), "damaged compressed PCD body"),
        (pcd("ascii").replace(b"x y z", b"x y w"), "without z; its fields are _ x y w rgb"),
        (pcd("ascii").replace(b"TYPE U F", b"TYPE Q F"), "damaged PCD header .KeyError"),
        (pcd("ascii").replace(b"SIZE 1 4", b"SIZE 1"), "damaged PCD header"),
        (pcd("ascii")[:80], "header does not end"),
        (pcd("ascii").replace(b"DATA ascii", b"DATA octal"), "of the kind 'octal'"),
        (pcd("ascii").replace(b"5.5", b"five"), "something that is no number .*five"),
        (pcd("ascii").replace(b"HEIGHT", b"DEPTH"), "damaged PCD header .a line begins with 'DEPTH'"),
    ],
)
def test_a_damaged_file_is_told_what_is_wrong_with_it(content, cause):
    with pytest.raises(InputError, match=f"bytes: .*{cause}"):
        read_points(content)
