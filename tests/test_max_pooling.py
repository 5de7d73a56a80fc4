"""Max pooling: the largest of each box in loops, layouts, influence and refusals."""

import pytest
import torch

from unimodal.max_pooling import MaxPooling
from unimodal.side import Side
from unimodal.tokens import Tokens


@pytest.mark.parametrize("grid", [(6, 8), (5, 7), (1, 2)])
def test_each_token_is_the_largest_of_its_box(grid):
    x = torch.randn(2, grid[0] * grid[1], 3) - 5
    made = MaxPooling(3)(Tokens(x, Side(grid=grid)))
    rows, columns = (-(-n // 2) for n in grid)
    assert made.side.grid == (rows, columns)
    map_ = x.unflatten(1, grid)
    for i in range(rows):
        for j in range(columns):
            box = map_[:, max(2 * i - 1, 0) : 2 * i + 2, max(2 * j - 1, 0) : 2 * j + 2]
            assert torch.equal(made.x.unflatten(1, (rows, columns))[:, i, j], box.amax((1, 2)))


def test_packed_lattices_are_pooled_one_by_one():
    x = torch.randn(1, 12 + 6, 3)
    packed = Tokens(x, Side(grids=((3, 4), (2, 3)), cu_seqlens=torch.tensor([0, 12, 18], dtype=torch.int32)))
    first, second = MaxPooling(3)(packed).split()
    assert torch.equal(first, MaxPooling(3)(Tokens(x[:, :12], Side(grid=(3, 4)))).x[0])
    assert torch.equal(second, MaxPooling(3)(Tokens(x[:, 12:], Side(grid=(2, 3)))).x[0])


@pytest.mark.parametrize("options", [{"kernel": 2}, {"kernel": -1}, {"stride": 0}])
def test_a_kernel_without_a_middle_and_a_stride_of_zero_are_refused(options):
    with pytest.raises(ValueError, match="kernel must be odd"):
        MaxPooling(3, **options)


def test_tokens_with_a_prefix_are_refused():
    with pytest.raises(ValueError, match="1 prefix tokens"):
        MaxPooling(3)(Tokens(torch.randn(1, 7, 3), Side(grid=(2, 3), prefix=1)))
