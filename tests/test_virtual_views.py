"""Virtual views against rotations written out, point by point."""

import math

import pytest
import torch

from unimodal.virtual_views import MOST, turned, virtual_views

ANGLES = [(0, 0, 1), (1, 0, 1), (2, 0, 1), (3, 0, 1), (0, -1, 1), (0, 1, 1)]  # quarter turns about x, y and z


def rotation(x, y, z):
    """R_x R_y R_z of quarter turns."""
    out = torch.eye(3, dtype=torch.float64)
    for axis, turns in enumerate((x, y, z)):
        c, s = math.cos(turns * math.pi / 2), math.sin(turns * math.pi / 2)
        a, b = [(1, 2), (2, 0), (0, 1)][axis]
        one = torch.eye(3, dtype=torch.float64)
        one[a, a], one[a, b], one[b, a], one[b, b] = c, -s, s, c
        out = out @ one
    return out


@pytest.fixture
def points():
    return torch.randn(2, 7, 3, dtype=torch.float64)


def everything(points):
    return torch.ones(points.shape[:2], dtype=torch.bool)


def test_views_are_the_published_turns(points):
    seen = turned(points, MOST)
    for m, angles in enumerate(ANGLES):
        for n in range(7):
            torch.testing.assert_close(seen[0, m, n], rotation(*angles) @ points[0, n])


def test_a_line_runs_from_the_nearest_to_the_farthest_point(points):
    t = virtual_views(points, everything(points), axes=1)
    assert t.shape == (2, 6, 7, 1)
    for b in range(2):
        for m, angles in enumerate(ANGLES):
            s = [float((rotation(*angles) @ p) @ torch.tensor([-1.0, 0, 1]).double()) / 2**0.5 for p in points[b]]
            expected = torch.tensor([(v - min(s)) / (max(s) - min(s)) for v in s]).double()
            torch.testing.assert_close(t[b, m, :, 0], expected)


def test_a_picture_has_the_bounding_box_in_the_middle(points):
    place = virtual_views(points, everything(points), axes=2)
    assert place.shape == (2, 6, 7, 2)
    for m, angles in enumerate(ANGLES):
        seen = torch.stack([rotation(*angles) @ p for p in points[1]])
        low, high = seen.min(0).values, seen.max(0).values
        across, down, _ = (0.5 + 0.8 * (seen - (low + high) / 2) / (high - low).max()).unbind(-1)
        torch.testing.assert_close(place[1, m], torch.stack([down, across], -1))


@pytest.mark.parametrize("axes", [1, 2])
def test_neither_unit_nor_origin_nor_other_clouds_nor_absent_points_matter(points, axes):
    real = everything(points)
    real[0, 5:] = False
    before = virtual_views(points, real, axes=axes)
    torch.testing.assert_close(virtual_views(1000.0 * points + 5.0, real, axes=axes), before)
    points[0, 5:] *= 100.0
    points[1] = 3.0 - points[1] ** 2
    assert torch.equal(virtual_views(points, real, axes=axes)[0, :, :5], before[0, :, :5])


@pytest.mark.parametrize("axes, where", [(1, 0.0), (2, 0.5)])
def test_a_cloud_without_extent_has_a_place(axes, where):
    points = torch.ones(1, 3, 3)
    assert (virtual_views(points, everything(points), axes=axes) == where).all()


def test_other_axes_are_refused(points):
    with pytest.raises(ValueError, match=r"axes must be 1 \(a line\) or 2 \(a picture\), not 3"):
        virtual_views(points, everything(points), axes=3)


@pytest.mark.parametrize("views", [0, 7])
def test_other_numbers_of_views_are_refused(points, views):
    with pytest.raises(ValueError, match=f"views must be 1 to 6, not {views}"):
        virtual_views(points, everything(points), axes=1, views=views)
