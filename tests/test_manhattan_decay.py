"""The decay table by brute force, what it may depend on, and its rates."""

import math

import pytest
import torch

from unimodal.manhattan_decay import axis_decay, decay_rates, lattice_decay
from unimodal.side import Side

RATES = torch.tensor([-0.5, -0.02], dtype=torch.float64)


def test_rates_are_the_released_formula():
    want = [math.log(1 - 2 ** (-2 - 6 * h / 16)) for h in range(16)]
    assert decay_rates(16, 2.0, 6.0) == pytest.approx(want, abs=1e-12)
    assert list(decay_rates(16, 2.0, 6.0)) == sorted(decay_rates(16, 2.0, 6.0))
    assert len(set(decay_rates(16, 2.0, 6.0))) == 16
    assert decay_rates(3, math.inf, 4.0) == (0.0, 0.0, 0.0)


def test_entries_are_rate_times_rows_apart_plus_columns_apart():
    rows, columns = 3, 5
    table = lattice_decay(RATES, Side(grid=(rows, columns)), 2, 15)
    assert table.shape == (1, 2, 15, 15)
    for h in range(2):
        for n in range(15):
            for m in range(15):
                apart = abs(n // columns - m // columns) + abs(n % columns - m % columns)
                assert table[0, h, n, m] == RATES[h] * apart
    assert torch.equal(table, table.mT)
    assert not table.diagonal(dim1=-2, dim2=-1).any()


def test_the_same_step_costs_the_same_everywhere_and_a_longer_one_never_less():
    table = lattice_decay(RATES, Side(grid=(4, 6)), 1, 24)[0, 0].unflatten(0, (4, 6)).unflatten(2, (4, 6))
    for down in range(4):
        for right in range(6):
            same = torch.stack([table[y, x, y + down, x + right] for y in range(4 - down) for x in range(6 - right)])
            assert bool((same == same[0]).all())
            nearer = [table[0, 0, max(down - 1, 0), right], table[0, 0, down, max(right - 1, 0)]]
            assert all(same[0] <= step for step in nearer)


def test_prefix_and_padding_stand_at_no_distance_and_each_row_has_its_own_lattice():
    side = Side(grids=((2, 2), (1, 3)), prefix=1, lengths=torch.tensor([5, 4]))
    table = lattice_decay(RATES, side, 2, 6)
    assert table.shape == (2, 2, 6, 6)
    for row, grid in enumerate(((2, 2), (1, 3))):
        cells = grid[0] * grid[1]
        own = lattice_decay(RATES, Side(grid=grid), 1, cells)[0]
        assert torch.equal(table[row, :, 1 : 1 + cells, 1 : 1 + cells], own)
        rest = table[row].clone()
        rest[:, 1 : 1 + cells, 1 : 1 + cells] = 0.0
        assert not rest.any()


def test_along_one_axis_it_is_a_toeplitz_matrix_and_the_lattice_is_the_sum_of_its_axes():
    def matrix(cells: int) -> torch.Tensor:
        diagonals = axis_decay(RATES, cells)
        offset = torch.arange(cells) - torch.arange(cells)[:, None]
        return diagonals[:, offset + cells - 1]

    down, right = matrix(3), matrix(4)
    total = down[:, :, None, :, None] + right[:, None, :, None, :]
    whole = lattice_decay(RATES, Side(grid=(3, 4)), 1, 12)[0]
    torch.testing.assert_close(total.flatten(3, 4).flatten(1, 2), whole, rtol=0, atol=1e-15)


def test_a_side_without_a_lattice_is_refused():
    with pytest.raises(ValueError, match=r"side\.grid .* is needed here"):
        lattice_decay(RATES, Side(), 1, 4)
