"""What looks like a point cloud, and what only has a name or numbers like one."""

import io
from typing import Any

import numpy as np
import pytest

from unimodal.reading.cloud_likeness import cloud_likeness


def npy(*shape, dtype="f4"):
    file = io.BytesIO()
    np.save(file, np.zeros(shape, dtype))
    return file.getvalue()


def npz(name):
    file = io.BytesIO()
    arrays: Any = {name: np.zeros((9, 3))}
    np.savez(file, **arrays)
    return file.getvalue()


@pytest.mark.parametrize(
    "name, content",
    [
        ("a", b"ply\nformat"),
        ("a.pcd", b"# .PCD v0.7"),
        ("a.las", b"LASF"),
        ("a.obj", b"# made by hand\nv 1 2 3\n"),
        ("a.stl", b"solid x"),
        ("a.off", b"OFF\n"),
        ("a.glb", b"glTF"),
        ("a.npy", npy(100, 3)),
        ("a.npy", npy(100, 6, dtype="<f8")),
        ("a.npz", npz("points")),
        ("a.xyz", b"1 2 3\n4 5 6\n"),
        ("a.pts", b"2\n1 2 3 4 5 6 7\n1 2 3 4 5 6 7\n"),
        ("a.csv", b"x,y,z\n1,2,3\n"),
        ("a.csv", b"id;X;Y;Z;r\n1;2;3;4;5\n"),
        ("a.txt", b"1 2 3\n4 5 6\n7 8 9\n"),
        ("a.txt", b"".join(b"%.4f,1.5,2.5\n" % i for i in range(999))),
    ],
)
def test_content_speaks_for_a_cloud(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    assert cloud_likeness(tmp_path / name) > 0.5


@pytest.mark.parametrize(
    "name, content",
    [
        ("a.txt", b"once upon a time\n"),
        ("a.txt", b""),
        ("a.txt", b"\0\1\2"),
        ("a.csv", b"time,x,y,z\n0,1,2,3\n"),
        ("a.csv", b"1,2,3,4,5\n1,2,3,4,5\n1,2,3,4,5\n"),
        ("a.csv", b"name,age,town\nx,1,y\n"),
        ("a.npy", npy(9, 9, 3)),
        ("a.npy", npy(3, 100)),
        ("a.npy", npy(100, 3, dtype="U2")),
        ("a.npz", npz("labels")),
        ("a.xyz", b"3\nwater\nO 0 0 0\nH 0 0 1\nH 0 1 0\n"),
        ("a", b"PK\x03\x04" + bytes(60)),
        ("a.ply", b"garbage"),
    ],
)
def test_a_name_alone_or_other_numbers_do_not(name, content, tmp_path):
    (tmp_path / name).write_bytes(content)
    assert cloud_likeness(tmp_path / name) <= 0.5


def test_what_is_not_there_is_judged_by_its_name(tmp_path):
    assert cloud_likeness(tmp_path / "gone.ply") == 0.5
    assert cloud_likeness(tmp_path / "gone.txt") == 0.0
