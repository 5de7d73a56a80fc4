"""Values of lattice cells laid out like the tokens of a batch."""

import math

import pytest
import torch

from unimodal.lattice import as_map, coordinates, over_tokens
from unimodal.side import Side


def number(grid):
    """Each cell's own number, counted from 1, so that a zero is a token without a cell."""
    return 1.0 + torch.arange(math.prod(grid)).float()[:, None]


def laid_out(side, rows, tokens):
    return over_tokens(number, side, rows, tokens)[..., 0].int().tolist()


def test_coordinates_run_in_c_order():
    assert coordinates((2, 3)).tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    assert coordinates((2, 1, 2)).tolist() == [[0, 0, 0], [0, 0, 1], [1, 0, 0], [1, 0, 1]]


@pytest.mark.parametrize("rows", [1, 3])
def test_a_map_is_a_view_whose_channels_stay_last_through_a_convolution(rows):
    x = torch.randn(rows, 6, 16)
    made = as_map(x, (2, 3))
    assert torch.equal(made, x.mT.unflatten(-1, (2, 3)))
    assert made.data_ptr() == x.data_ptr()
    assert torch.nn.Conv2d(16, 16, 3, padding=1, groups=16)(made).permute(0, 2, 3, 1).is_contiguous()


def test_one_lattice_for_all_gives_one_row_with_zeros_for_the_prefix():
    assert laid_out(Side(grid=(2, 2), prefix=1), rows=3, tokens=5) == [[0, 1, 2, 3, 4]]


def test_padded_rows_of_different_lattices_end_in_zeros():
    side = Side(grids=((1, 3), (2, 1)), prefix=1, lengths=torch.tensor([4, 3]))
    assert laid_out(side, rows=2, tokens=5) == [[0, 1, 2, 3, 0], [0, 1, 2, 0, 0]]
    assert laid_out(Side(grid=(3,), lengths=torch.tensor([3, 3])), rows=2, tokens=4) == [[1, 2, 3, 0]]


def test_packed_sequences_have_each_their_prefix_and_lattice():
    side = Side(grids=((1, 3), (2, 1)), prefix=1, cu_seqlens=torch.tensor([0, 4, 7]))
    assert laid_out(side, rows=1, tokens=7) == [[0, 1, 2, 3, 0, 1, 2]]
    alike = Side(grid=(2,), cu_seqlens=torch.tensor([0, 2, 4]))
    assert laid_out(alike, rows=1, tokens=4) == [[1, 2, 1, 2]]


@pytest.mark.parametrize(
    "side, tokens",
    [
        (Side(grid=(2, 2)), 5),
        (Side(grid=(2, 2)), 3),
        (Side(grid=(2, 2), prefix=2), 5),
        (Side(grids=((2, 2),), lengths=torch.tensor([3])), 3),
        (Side(grids=((2, 2),), cu_seqlens=torch.tensor([0, 5])), 5),
    ],
)
def test_a_lattice_that_does_not_fit_its_sequence_raises(side, tokens):
    with pytest.raises(ValueError, match=r"a lattice \(2, 2\) has 4 cells, but the sequence \d tokens"):
        over_tokens(number, side, 1, tokens)


def test_no_lattice_raises():
    with pytest.raises(ValueError, match=r"side.grid \(or side.grids\) is needed here"):
        over_tokens(number, Side(), 1, 4)
