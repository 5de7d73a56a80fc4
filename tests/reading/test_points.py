"""Anything that holds points: told apart by content, checked, and refused by name."""

import io
from typing import Any

import numpy as np
import pytest
import torch

from unimodal.errors import InputError
from unimodal.reading.points import read_points

XYZ = np.random.default_rng(0).standard_normal((20, 3))


def npy(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def npz(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize(
    "source",
    [
        XYZ,
        XYZ.tolist(),
        torch.from_numpy(XYZ),
        torch.from_numpy(XYZ).requires_grad_(),
        np.asfortranarray(XYZ),
        XYZ.astype(">f8"),
        npy(XYZ),
        npz(points=XYZ, label=np.array(3)),
        npz(whatever=XYZ),
        io.BytesIO(npy(XYZ)),
        "\n".join(" ".join(map(repr, row)) for row in XYZ.tolist()).encode(),
    ],
)
def test_points_are_those_that_were_given(source):
    assert np.array_equal(read_points(source).xyz, XYZ)


@pytest.mark.parametrize("top, rgb", [(1.0, True), (255, True), (300, False), (-1, False)])
def test_columns_behind_the_coordinates_are_colours_if_they_can_be(top, rgb):
    array = np.concatenate([XYZ, np.linspace(0, top, 60).reshape(20, 3)], -1)
    found: Any = read_points(array).rgb
    assert (found is not None) == rgb
    if rgb:
        np.testing.assert_allclose(found, array[:, 3:] / top, atol=1e-6)


@pytest.mark.parametrize("name", ["a.obj", "a.OBJ", "a.txt"])
def test_a_mesh_is_known_by_its_content_whatever_it_is_called(name, tmp_path):
    (tmp_path / name).write_bytes(b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    cloud: Any = read_points(tmp_path / name)
    assert cloud.faces.tolist() == [[0, 1, 2]]


def test_an_obj_file_with_a_long_preface_is_known_by_its_name(tmp_path):
    (tmp_path / "a.obj").write_bytes(b"call other.cmd\n" + b"v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    assert len(read_points(tmp_path / "a.obj").xyz) == 3


@pytest.mark.parametrize(
    "source, cause",
    [
        (b"", "is empty"),
        (b"LASF" + bytes(300), "is a LAS or LAZ file, which is not read here; save it as PLY"),
        (b"ASTM-E57" + bytes(300), "is an E57 file"),
        (b"\x89HDF\r\n\x1a\n" + bytes(300), "is an HDF5 file"),
        (b"\x00\x01\x02\x03" * 50, "is no point cloud and no mesh"),
        (npy(XYZ)[:-1], "has 479 of the 480 bytes of its header; it is truncated"),
        (npy(XYZ).replace(b"(20, 3), }        ", b"(2000000000, 3), }"), "480 of the 48000000000 bytes of its header"),
        (npy(XYZ).replace(b"(20, 3)", b"(20, 3 "), "is a damaged NPY file"),
        (npy(np.array([{}], dtype=object)), "holds Python objects, which are never opened"),
        (npz(points=XYZ)[:-30], "is a damaged NPZ file"),
        (npz(a=XYZ, b=XYZ), r"no array of points \(its arrays: a, b\); call it 'points'"),
        (XYZ[:, :2], r"has the shape \(20, 2\); points are \(N, 3\)"),
        (XYZ.T, r"has the shape \(3, 20\); transpose it"),
        (XYZ[None], r"has the shape \(1, 20, 3\)"),
        (np.empty((0, 3)), "has no points"),
        ([[1, 2, 3], [4, 5]], "is no array of points"),
        (np.array([["a", "b", "c"]]), "holds values of the type <U1"),
        (
            np.where(XYZ[3] == XYZ, np.inf, XYZ),
            r"1 points with coordinates that are not finite \(the first is point 4\)",
        ),
        (np.where(XYZ[0] == XYZ, np.nan, XYZ), "not finite"),
        (1e101 * XYZ, "has coordinates up to .*e.101; at most 1e.100"),
        (3.5, "cannot be read as a point cloud .it is a float"),
        (io.StringIO("1 2 3"), "is a file opened as text"),
    ],
)
def test_what_holds_no_points_is_told_why(source, cause):
    with pytest.raises(InputError, match=cause):
        read_points(source)


@pytest.mark.parametrize("suffix", [".ply", ".pcd", ".glb", ".off", ".npy"])
def test_a_file_that_is_not_what_its_name_says_is_told_so(suffix, tmp_path):
    path = tmp_path / f"scan{suffix}"
    path.write_bytes(b"\x17\x03garbage" * 30)
    with pytest.raises(InputError, match=f"scan{suffix}: is no {suffix[1:].upper()} file; it begins with b'"):
        read_points(path)


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(InputError, match="gone.ply: does not exist"):
        read_points(tmp_path / "gone.ply")
    with pytest.raises(InputError, match="is a directory"):
        read_points(tmp_path)


def test_no_damage_makes_anything_but_an_input_error(tmp_path):
    """Files cut anywhere, with any byte changed, are read or refused in words."""
    trimesh = pytest.importorskip("trimesh")
    box, random = trimesh.creation.box(), np.random.default_rng(0)
    files = [box.export(file_type="ply"), box.export(file_type="stl"), box.export(file_type="glb"), npy(XYZ)]
    files += [box.export(file_type=kind).encode() for kind in ("obj", "off", "stl_ascii")]
    files += [box.export(file_type="ply", encoding="ascii"), npz(points=XYZ)]
    read, words = 0, []
    for file in files:
        for _ in range(60):
            damaged = bytearray(file[: random.integers(1, len(file) + 1)] if random.random() < 0.5 else file)
            for _ in range(random.integers(0, 6)):
                damaged[random.integers(len(damaged))] = random.integers(256)
            try:
                read_points(bytes(damaged))
                read += 1
            except InputError as error:
                words.append(str(error))
    assert read > 20
    assert not any("\n" in line for line in words)
