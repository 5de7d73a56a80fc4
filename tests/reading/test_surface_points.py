"""Points on a surface: how many a triangle gets, and where in it."""

import numpy as np
import pytest

from unimodal.reading.surface_points import surface_points

VERTICES = np.array([[0.0, 0, 0], [4, 0, 0], [0, 3, 0], [0, 0, 1], [7, 7, 7]])
FACES = np.array([[0, 1, 2], [0, 1, 3], [1, 1, 2], [0, 2, 3]])


def areas():
    sides = [(VERTICES[b] - VERTICES[a], VERTICES[c] - VERTICES[a]) for a, b, c in FACES]
    return np.array([np.sqrt(max(p @ p * (q @ q) - (p @ q) ** 2, 0)) / 2 for p, q in sides])


@pytest.mark.parametrize("count", [1, 7, 1000])
def test_a_triangle_gets_points_by_its_area_up_to_rounding(count):
    _, face, _ = surface_points(VERTICES, FACES, count)
    share = count * areas() / areas().sum()
    assert np.all(np.abs(np.bincount(face, minlength=4) - share) < 1)


def test_points_are_the_weighted_corners_and_lie_inside():
    points, face, weights = surface_points(VERTICES, FACES, 500)
    assert np.all(weights >= 0)
    np.testing.assert_allclose(weights.sum(-1), 1)
    for point, f, w in zip(points, face, weights, strict=True):
        np.testing.assert_allclose(point, w @ VERTICES[FACES[f]], atol=1e-12)


def test_points_are_spread_evenly_within_a_triangle():
    """Its mean is the centroid, and a half of the area has half of the points (3 standard errors)."""
    points, _, _ = surface_points(VERTICES, FACES[:1], 20_000)
    np.testing.assert_allclose(points.mean(0), [4 / 3, 1, 0], atol=3 * np.sqrt(16 / 18 / 20_000))
    beyond = np.mean(points[:, 0] > 4 * (1 - np.sqrt(0.5)))
    assert abs(beyond - 0.5) < 3 * 0.5 / np.sqrt(20_000)


def test_one_seed_gives_the_same_points_and_another_one_others():
    first, again, other = (surface_points(VERTICES, FACES, 50, seed=seed)[0] for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_the_areas_of_a_tiny_mesh_do_not_vanish():
    points, _, _ = surface_points(1e-200 * VERTICES, FACES, 100)
    assert len(np.unique(points, axis=0)) == 100


def test_a_mesh_without_area_is_refused():
    with pytest.raises(ValueError, match="no triangle has an area"):
        surface_points(VERTICES, FACES[2:3], 5)
