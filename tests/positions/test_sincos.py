"""Sine-cosine positions against their formula."""

import math

import pytest
import torch

from unimodal.positions.sincos import SinCos
from unimodal.side import Side


def wave(coordinates, dim, base=10_000.0):
    """For each axis all sines, then all cosines."""
    n = dim // (2 * len(coordinates))
    out = []
    for c in coordinates:
        out += [math.sin(c * base ** (-i / n)) for i in range(n)]
        out += [math.cos(c * base ** (-i / n)) for i in range(n)]
    return torch.tensor(out, dtype=torch.float64)


@pytest.mark.parametrize("grid", [(1,), (63,), (3, 5), (2, 3, 2)])
def test_every_cell_gets_the_wave_of_its_coordinates_and_the_prefix_nothing(grid):
    cells = [()]
    for n in grid:
        cells = [(*cell, i) for cell in cells for i in range(n)]
    x = torch.randn(2, 2 + len(cells), 12)
    y = SinCos(12, base=100.0)(x, Side(grid=grid, prefix=2)) - x
    assert not y[:, :2].any()
    expected = torch.stack([wave(cell, 12, 100.0) for cell in cells]).float().expand(2, -1, -1)
    torch.testing.assert_close(y[:, 2:], expected, rtol=0, atol=1e-5)  # 62 rad in float32


def test_in_one_dimension_it_is_the_original_table_with_sines_first():
    table = SinCos(6)(torch.zeros(1, 9, 6), Side(grid=(9,)))[0]
    for position in range(9):
        for i in range(3):
            angle = position / 10_000 ** (2 * i / 6)
            assert table[position, i] == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[position, 3 + i] == pytest.approx(math.cos(angle), abs=1e-6)


@pytest.mark.parametrize("packed", [False, True])
def test_continuous_coordinates_replace_the_lattice_and_the_prefix_still_gets_nothing(packed):
    place = torch.rand(1, 7, 2) * 5
    side = Side(positions=place, grid=(1, 6), prefix=1) if not packed else Side(positions=place, prefix=1)
    side = side.replace(cu_seqlens=torch.tensor([0, 3, 7])) if packed else side
    y = SinCos(8)(torch.zeros(1, 7, 8), side)[0]
    for n in range(7):
        first = n in ((0, 3) if packed else (0,))
        expected = torch.zeros(8) if first else wave(place[0, n].tolist(), 8).float()
        torch.testing.assert_close(y[n], expected, rtol=0, atol=1e-6)


def test_sequences_of_different_lattices_get_each_their_own():
    x, side = torch.zeros(2, 7, 8), Side(grids=((2, 3), (1, 2)), prefix=1, lengths=torch.tensor([7, 3]))
    y = SinCos(8)(x, side)
    torch.testing.assert_close(y[:1], SinCos(8)(x[:1], Side(grid=(2, 3), prefix=1)))
    torch.testing.assert_close(y[1:, :3], SinCos(8)(x[1:, :3], Side(grid=(1, 2), prefix=1)))
    assert not y[1, 3:].any()


def test_channels_behind_the_last_whole_share_get_nothing():
    y = SinCos(11)(torch.zeros(1, 6, 11), Side(grid=(2, 3)))
    torch.testing.assert_close(y[..., :8], SinCos(8)(torch.zeros(1, 6, 8), Side(grid=(2, 3))))
    assert not y[..., 8:].any()


def test_a_width_with_no_channel_for_an_axis_raises():
    with pytest.raises(ValueError, match="dim 3 is less than 2 x 2 coordinate axes"):
        SinCos(3)(torch.zeros(1, 6, 3), Side(grid=(2, 3)))


def test_neither_positions_nor_a_lattice_raises():
    with pytest.raises(ValueError, match=r"side.grid \(or side.grids\) is needed"):
        SinCos(8)(torch.zeros(1, 6, 8))
