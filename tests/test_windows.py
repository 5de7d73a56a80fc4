import pytest
import torch

from unimodal.side import Side
from unimodal.tokens import Tokens
from unimodal.windows import join_windows, split_windows


@pytest.mark.parametrize("grid", [(8, 8), (16, 24), (9, 17), (3, 5)])
def test_joining_undoes_splitting_on_any_lattice(grid):
    x = torch.randn(2, grid[0] * grid[1], 5)
    windows = split_windows(Tokens(x, Side(grid=grid)), (8, 8))
    assert windows.side.grid == (8, 8)
    assert windows.x.shape == (2 * -(-grid[0] // 8) * -(-grid[1] // 8), 64, 5)
    assert torch.equal(join_windows(windows.x, (8, 8), grid), x.mT.unflatten(-1, grid))


def test_a_window_holds_its_own_cells_row_by_row():
    x = torch.arange(4 * 6, dtype=torch.float32)[None, :, None]
    windows = split_windows(Tokens(x, Side(grid=(4, 6))), (2, 3)).x[..., 0]
    assert windows.tolist() == [
        [0, 1, 2, 6, 7, 8],
        [3, 4, 5, 9, 10, 11],
        [12, 13, 14, 18, 19, 20],
        [15, 16, 17, 21, 22, 23],
    ]


@pytest.mark.parametrize(
    ("side", "match"),
    [
        (Side(), "2-D lattice"),
        (Side(grid=(6,)), "2-D lattice"),
        (Side(grid=(2, 2), prefix=2), "prefix"),
        (Side(grid=(2, 3), lengths=torch.tensor([4])), "lengths"),
    ],
)
def test_other_layouts_are_refused(side, match):
    with pytest.raises(ValueError, match=match):
        split_windows(Tokens(torch.zeros(1, 6, 4), side), (2, 2))
