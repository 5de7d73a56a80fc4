"""The position part ``virtual_projection`` against interpolation by hand, and against what torch has for pictures."""

import math

import pytest
import torch
import torch.nn.functional as F

from unimodal.positions.virtual_projection import VirtualProjection
from unimodal.side import Side
from unimodal.tokens import Tokens
from unimodal.virtual_views import turned, virtual_views


def part(grid, **settings):
    part = VirtualProjection(5, grid=grid, **settings).double()
    part.table.normal_()
    return part


def cloud(rows=2, count=6, prefix=0):
    return Side(positions=torch.randn(rows, count + prefix, 3, dtype=torch.float64), prefix=prefix)


def places(side):
    assert side.positions is not None
    return side.positions


def added(part, side):
    x = torch.randn(*places(side).shape[:2], 5, dtype=torch.float64)
    return part(x, side) - x


def views(side, axes, count=6):
    points = places(side)[:, side.prefix :]
    return virtual_views(points, torch.ones(points.shape[:2], dtype=torch.bool), axes=axes, views=count)


def test_each_token_gets_the_mean_over_views_of_the_rows_around_it():
    held, side = part((7,)), cloud(prefix=1)
    p, place = added(held, side), views(side, 1)
    assert not p[:, 0].any()
    for b in range(2):
        for n in range(6):
            total = torch.zeros(5, dtype=torch.float64)
            for m in range(6):
                c = 6.0 * float(place[b, m, n, 0])
                low = min(math.floor(c), 5)
                total += (low + 1 - c) * held.table[low] + (c - low) * held.table[low + 1]
            torch.testing.assert_close(p[b, 1 + n], total / 6)


@pytest.mark.parametrize("grid", [(3, 4), (1, 5), (6, 6)])
def test_pictures_equal_bilinear_grid_sample_with_aligned_corners(grid):
    held, side = part(grid), cloud()
    place = views(side, 2)
    image = held.table.unflatten(0, grid).movedim(-1, 0)[None].expand(2, -1, -1, -1)
    sampled = F.grid_sample(image, 2 * place.flip(-1) - 1, mode="bilinear", align_corners=True)  # (B, D, M, N)
    torch.testing.assert_close(added(held, side), sampled.mean(2).mT)


def test_a_whole_number_gets_exactly_that_row():
    """One view; the line is (ahead - across) / sqrt 2 of it, which points (0, 0, z) lie on at 0, 1/4 ... 1."""
    held = VirtualProjection(5, grid=(5,), views=1)
    points = torch.zeros(1, 5, 3)
    points[0, :, 2] = torch.tensor([4.0, 0.0, 2.0, 1.0, 3.0])
    x = torch.zeros(1, 5, 5)
    assert torch.equal(held(x, Side(positions=points))[0], held.table[[4, 0, 2, 1, 3]])


def test_all_cells_of_a_picture_can_be_reached_exactly():
    held = VirtualProjection(5, grid=(3, 3))
    coordinates = torch.cartesian_prod(torch.arange(3.0), torch.arange(3.0))
    rows = held._interpolated(coordinates[None, None].expand(1, 6, -1, -1))[0]
    torch.testing.assert_close(rows, held.table, rtol=1e-6, atol=0)


def test_the_table_is_frozen_and_the_places_are_not():
    held, side = part((3, 4)), cloud()
    moved = places(side).requires_grad_()
    (slope,) = torch.autograd.grad(held(torch.zeros(2, 6, 5, dtype=torch.float64), side).square().sum(), moved)
    assert not list(held.parameters())
    assert not held.table.requires_grad
    assert slope.abs().max() > 0


def test_a_table_of_equal_rows_adds_the_row():
    held = part((4, 4))
    held.table.copy_(held.table[:1].expand(16, -1))
    torch.testing.assert_close(added(held, cloud()), held.table[0].expand(2, 6, -1))


@pytest.mark.parametrize("grid", [(7,), (3, 4)])
def test_clouds_of_a_batch_do_not_see_one_another_in_any_layout(grid):
    held, side = part(grid), cloud(rows=3, prefix=1)
    tokens = Tokens(torch.randn(3, 7, 5).double(), side.replace(lengths=torch.tensor([7, 4, 2])))
    alone = [
        held(x[None], Side(positions=places(side)[b : b + 1, : len(x)], prefix=1))[0]
        for b, x in enumerate(tokens.split())
    ]
    padded, packed = tokens.replace(held(tokens.x, tokens.side)), tokens.packed()
    packed = packed.replace(held(packed.x, packed.side))
    for one, row, other in zip(alone, padded.split(), packed.split(), strict=True):
        torch.testing.assert_close(row, one)
        torch.testing.assert_close(other, one)


def test_cells_are_counted_in_rows_of_the_table():
    side = cloud()
    points, real = places(side), torch.ones(2, 6, dtype=torch.bool)
    line = part((77,)).cells(points, real, size=2.0)
    assert torch.equal(line, (views(side, 1)[..., 0] * 77 / 2).floor().clamp(max=38).long())
    rows, columns = (views(side, 2) * 518 / 26).floor().long().unbind(-1)
    assert torch.equal(part((37, 37)).cells(points, real, size=26 / 14), rows * 20 + columns)


def released_line(points, table):
    """The released code for texts, in loops, slips and all."""
    line = []
    for p in points:
        seen = virtual_views(p[None], torch.ones(1, len(p), dtype=torch.bool), axes=1)[0, ..., 0]
        line.append((77.0 * seen - 0.5) % 77.0)
    line = torch.stack(line)
    scaled = line * 76.0 / (line.max() - line.min())
    out = torch.zeros(*points.shape[:2], table.shape[1], dtype=torch.float64)
    for b, m, n in torch.cartesian_prod(*map(torch.arange, scaled.shape)).tolist():
        c = float(scaled[b, m, n])
        left, right = min(math.floor(c), 76), min(math.ceil(c), 76)
        out[b, n] += (right - c) * table[left] + (c - left) * table[right]
    return out / 6


def test_with_quirks_a_text_position_is_that_of_the_released_code():
    held, side = part((77,), reference_quirks=True), cloud()
    torch.testing.assert_close(added(held, side), released_line(places(side), held.table))


def test_with_quirks_a_picture_position_is_that_of_the_released_code():
    held, side = part((37, 37), reference_quirks=True), cloud()
    across, down, ahead = turned(places(side), 6).unbind(-1)
    pixels = torch.stack([across, down], -1) / (ahead + 1.8)[..., None]
    pixels = ((pixels + 1) * 518 / 2 - 0.5) % 518
    image = held.table.unflatten(0, (37, 37)).movedim(-1, 0)[None].expand(2, -1, -1, -1)
    sampled = F.grid_sample(image, 2 * pixels / 517 - 1, mode="bilinear", align_corners=True)
    torch.testing.assert_close(added(held, side), sampled.mean(2).reshape(2, 6, 5))


def test_with_quirks_a_whole_number_gets_nothing():
    held = VirtualProjection(5, grid=(77,), reference_quirks=True)
    assert not held._interpolated(torch.arange(77.0)[None, None, :, None].expand(1, 6, -1, -1)).any()


@pytest.mark.parametrize("grid", [(2, 2, 2), (), (0,)])
def test_other_lattices_are_refused(grid):
    with pytest.raises(ValueError, match=r"grid must have one axis \(texts\) or two \(pictures\)"):
        VirtualProjection(4, grid=grid)


@pytest.mark.parametrize("views", [0, 7])
def test_other_numbers_of_views_are_refused(views):
    with pytest.raises(ValueError, match=f"views must be 1 to 6, not {views}"):
        VirtualProjection(4, grid=(3,), views=views)


def test_more_than_three_coordinates_are_refused():
    with pytest.raises(ValueError, match="tokens have 4 coordinates"):
        VirtualProjection(4, grid=(3,))(torch.zeros(1, 2, 4), Side(positions=torch.zeros(1, 2, 4)))
