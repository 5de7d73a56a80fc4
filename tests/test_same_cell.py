"""Tokens of one cell against groups in loops."""

import pytest
import torch

from unimodal.same_cell import SameCell

CELL = torch.tensor([[7, 3, 7, 7, 3, 0], [2, 2, 5, 2, 5, 2]])
REAL = torch.tensor([[True] * 6, [True] * 4 + [False] * 2])
GROUPS = [[[0, 2, 3], [1, 4], [5]], [[0, 1, 3], [2]]]


@pytest.fixture
def cells():
    return SameCell(CELL, REAL)


def test_it_says_which_tokens_are_together_and_which_one_stands_for_them(cells):
    for b, groups in enumerate(GROUPS):
        expected = torch.zeros(6, 6, dtype=torch.bool)
        for group in groups:
            expected[torch.tensor(group)[:, None], torch.tensor(group)] = True
        assert torch.equal(cells.mask[b, 0], expected)
        assert cells.heads[b].nonzero()[:, 0].tolist() == sorted(group[0] for group in groups)


def test_each_token_gets_the_mean_and_the_maximum_of_its_cell(cells):
    x = torch.randn(2, 6, 4, dtype=torch.float64)
    mean, largest = cells.mean(x), cells.largest(x)
    for b, groups in enumerate(GROUPS):
        for group in groups:
            for n in group:
                torch.testing.assert_close(mean[b, n], x[b, group].mean(0))
                assert torch.equal(largest[b, n], x[b, group].max(0).values)
    assert not mean[~REAL].any()


def test_padding_has_no_influence_whatever_cell_it_would_be_in(cells):
    x = torch.randn(2, 6, 4)
    other = x.clone()
    other[~REAL] = 100.0
    assert torch.equal(cells.mean(x)[REAL], cells.mean(other)[REAL])
    assert torch.equal(cells.largest(x)[REAL], cells.largest(other)[REAL])


def test_rows_of_cells_go_back_to_their_tokens(cells):
    x = torch.randn(2, 6, 4)
    pooled = cells.largest(x)
    back = cells.of_first(pooled[cells.heads])
    assert pooled[cells.heads].shape == (5, 4)
    assert torch.equal(back[REAL], pooled[REAL])


def test_gradients_of_both_are_those_of_the_loops(cells):
    x = torch.randn(2, 6, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda t: (cells.mean(t), cells.largest(t)[REAL]), (x,))
