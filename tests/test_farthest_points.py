"""Farthest-point sampling against its definition in loops."""

import pytest
import torch

from unimodal.farthest_points import farthest_points


def slowly(points, count, start):
    """The definition, one distance at a time in float64."""
    chosen = [start]
    while len(chosen) < count:
        best, farthest = -1, -1.0
        for n in range(len(points)):
            pairs = [zip(points[n].tolist(), points[c].tolist(), strict=True) for c in chosen]
            near = min(sum((a - b) ** 2 for a, b in pair) for pair in pairs)
            if near > farthest:
                best, farthest = n, near
        chosen.append(best)
    return chosen


@pytest.mark.parametrize("points, count, start", [(40, 12, 0), (23, 23, 7), (31, 1, 30)])
def test_it_equals_the_definition(points, count, start):
    clouds = torch.randn(3, points, 3, dtype=torch.float64)
    found = farthest_points(clouds, count, start=start)
    assert found.tolist() == [slowly(cloud, count, start) for cloud in clouds]


def test_the_first_of_equally_far_points_is_taken():
    grid = torch.cartesian_prod(*[torch.arange(3.0)] * 3)
    assert farthest_points(grid[None], 20, start=13)[0].tolist() == slowly(grid, 20, 13)


def test_without_a_start_it_begins_farthest_from_the_centroid():
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 5.0], [1.0, 1.0]])
    assert farthest_points(points[None], 2).tolist() == [[2, 1]]


def test_chosen_points_are_in_the_same_order_when_only_they_are_left():
    points = torch.randn(1, 200, 3)
    order = farthest_points(points, 60)[0]
    assert farthest_points(points[:, order], 25, start=0)[0].tolist() == list(range(25))


def test_repeated_points_come_last():
    points = torch.randn(6, 3).repeat(2, 1)
    chosen = farthest_points(points[None], 12)[0]
    assert sorted((chosen[:6] % 6).tolist()) == list(range(6))


def test_it_covers_better_than_any_later_choice_could_undo():
    """Every point lies nearer to a chosen one than the last chosen one did to those before it (a 2-approximation)."""
    points = torch.randn(1, 300, 3, dtype=torch.float64)
    order = farthest_points(points, 20)[0]
    chosen = points[0, order]
    last = torch.cdist(chosen[-1:], chosen[:-1]).min()
    assert torch.cdist(points[0], chosen).min(-1).values.max() <= last


@pytest.mark.parametrize("count", [0, 6])
def test_a_count_beyond_the_points_is_refused(count):
    with pytest.raises(ValueError, match=f"count must be 1 to the 5 points there are, not {count}"):
        farthest_points(torch.randn(1, 5, 3), count)


def test_a_start_beyond_the_points_is_refused():
    with pytest.raises(ValueError, match="start must be an index below 5, not 5"):
        farthest_points(torch.randn(1, 5, 3), 2, start=5)
