"""Which cell stands where: written out on one axis, undone on any lattice, and regions against neighbourhood."""

import numpy as np
import pytest
import torch

from unimodal.window_order import window_order
from unimodal.windows import from_windows, to_windows


def test_one_axis_is_turned_and_filled_up_as_its_edge_says():
    assert window_order((5,), (3,), (1,), "padded").cells.tolist() == [1, 2, 3, 4, 5, 0]
    assert window_order((5,), (3,), (1,), "turned").cells.tolist() == [1, 2, 3, 4, 0, 5]
    assert window_order((5,), (3,), (0,), "repeated").cells.tolist() == [0, 1, 2, 3, 4, 4]


def test_the_last_window_has_two_regions_along_each_turned_axis():
    regions = window_order((4, 4), (2, 2), (1, 0)).regions
    assert regions is not None
    apart = [len(set(window.tolist())) for window in regions]
    assert apart == [1, 1, 2, 2]
    assert regions[2][0] == regions[2][1] != regions[2][2] == regions[2][3]


def test_zeros_behind_the_turn_leave_a_seam_open():
    for edge, together in (("padded", False), ("turned", True)):
        order = window_order((11,), (7,), (3,), edge)
        assert order.regions is not None
        region = dict(zip(order.cells.tolist(), order.regions.ravel().tolist(), strict=True))
        assert (region[10] == region[0]) == together


@pytest.mark.parametrize("edge", ["padded", "turned"])
@pytest.mark.parametrize("grid, size, shift", [((6, 6), (3, 3), (1, 1)), ((5, 7), (3, 2), (2, 1)), ((2, 9, 3),) * 3])
def test_joining_undoes_cutting(edge, grid, size, shift):
    size, shift = (size, shift) if size != shift else ((2, 4, 2), (1, 3, 0))
    order = window_order(grid, size, shift, edge)
    x = torch.randn(2, int(np.prod(grid)), 3)
    cut = to_windows(x, order)
    assert torch.equal(from_windows(cut, order), x)
    assert order.filled == bool((cut == 0).any())
    assert not cut[:, torch.from_numpy(order.cells == x.shape[1])].any()


@pytest.mark.parametrize("grid", [(6, 9), (7, 8)])
def test_places_of_one_region_lie_within_one_window_of_the_lattice_before_the_turn(grid):
    order = window_order(grid, (3, 3), (1, 1))
    assert order.regions is not None
    for cells, regions in zip(order.cells.reshape(-1, 9), order.regions, strict=True):
        for region in set(regions.tolist()):
            own = cells[(regions == region) & (cells < grid[0] * grid[1])]
            rows, columns = own // grid[1], own % grid[1]
            if len(own):
                assert max(np.ptp(rows), np.ptp(columns)) < 3
