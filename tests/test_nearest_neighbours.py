"""Nearest neighbours against a sort of all distances."""

import pytest
import torch

from unimodal.nearest_neighbours import nearest_neighbours


@pytest.mark.parametrize("points, centres, count", [(50, 7, 8), (9, 3, 9), (200, 1, 1)])
def test_they_are_the_first_of_all_points_sorted_by_distance(points, centres, count):
    clouds, middles = torch.randn(2, points, 3, dtype=torch.float64), torch.randn(2, centres, 3, dtype=torch.float64)
    found = nearest_neighbours(clouds, middles, count)
    for b in range(2):
        for g in range(centres):
            far = [sum(float(clouds[b, n, i] - middles[b, g, i]) ** 2 for i in range(3)) for n in range(points)]
            assert found[b, g].tolist() == sorted(range(points), key=far.__getitem__)[:count]


def test_points_close_together_far_from_the_origin_keep_their_order():
    """The expanded square |a|^2 - 2 a b + |b|^2 loses such distances in float32."""
    clouds = 1000 + torch.tensor([[[0.0], [0.25], [0.5], [0.75], [1.0]]])
    assert nearest_neighbours(clouds, clouds[:, :1], 5).tolist() == [[[0, 1, 2, 3, 4]]]


def test_a_small_cloud_gives_all_its_points_and_the_nearest_again():
    clouds = torch.tensor([[[0.0, 0, 0], [3.0, 0, 0], [1.0, 0, 0]]])
    assert nearest_neighbours(clouds, clouds[:, 1:2], 5).tolist() == [[[1, 2, 0, 1, 1]]]


def test_no_neighbours_are_refused():
    with pytest.raises(ValueError, match="count must be positive, not 0"):
        nearest_neighbours(torch.randn(1, 5, 3), torch.randn(1, 2, 3), 0)
