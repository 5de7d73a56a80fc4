"""Voxel thinning: one point a cell, of the coarsest lattice that has enough."""

import numpy as np
import pytest

from unimodal.reading.voxel_thinning import voxel_thinning


def cells(xyz, level):
    low, side = xyz.min(0), (xyz.max(0) - xyz.min(0)).max()
    return [tuple(cell) for cell in np.minimum((xyz - low) / side * 2**level, 2**level - 1).astype(int)]


@pytest.mark.parametrize("least", [1, 10, 100, 700])
def test_each_occupied_cell_of_the_coarsest_lattice_that_has_enough_keeps_one_point(least):
    xyz = np.random.default_rng(0).standard_normal((3000, 3)) * [1.0, 0.5, 0.1]
    level = next(level for level in range(1, 21) if len(set(cells(xyz, level))) >= least)
    kept = voxel_thinning(xyz, least)
    every = cells(xyz, level)
    assert sorted(every[i] for i in kept) == sorted(set(every))
    assert np.all(np.diff(kept) > 0)


def test_fewer_than_eight_times_the_wanted_points_are_kept():
    xyz = np.random.default_rng(1).random((50_000, 3))
    for least in (100, 513, 2048):
        assert least <= len(voxel_thinning(xyz, least)) < 8 * least


def test_a_lone_point_far_from_a_crowd_is_kept():
    crowd = np.random.default_rng(2).random((5000, 3))
    xyz = np.concatenate([crowd, [[9.0, 9.0, 9.0]]])
    assert 5000 in voxel_thinning(xyz, 50)


def test_points_that_no_lattice_tells_apart_are_kept_once():
    xyz = np.array([[0.0, 0, 0], [1, 0, 0], [1, 0, 0], [1, 1e-9, 0]])
    assert voxel_thinning(xyz, 10).tolist() == [0, 1]
