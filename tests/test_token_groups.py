"""Token groups: runs and windows come back as they were, and what does not fit is refused."""

import pytest
import torch

from unimodal.side import Side
from unimodal.token_groups import TokenGroups
from unimodal.tokens import Tokens
from unimodal.windows import split_windows


@pytest.mark.parametrize("length", [1, 3, 4, 5, 11, 12])
def test_runs_come_back_and_count_their_real_tokens(length):
    groups, tokens = TokenGroups(4, 3), Tokens(torch.randn(2, length, 5))
    rows = groups.split(tokens)
    assert torch.equal(groups.join(rows.x, tokens), tokens.x)
    counted = [4] * len(rows.x) if rows.side.lengths is None else rows.side.lengths.tolist()
    assert counted == [min(4, length - n) for n in range(0, length, 4)] * 2
    assert (rows.side.lengths is None) == (length % 4 == 0)


def test_a_padded_batch_has_groups_without_tokens():
    groups, tokens = TokenGroups(4, 3), Tokens(torch.randn(3, 9, 5), Side(lengths=torch.tensor([9, 0, 5])))
    rows = groups.split(tokens)
    assert rows.side.lengths is not None
    assert rows.side.lengths.view(3, 3).tolist() == [[4, 4, 1], [0, 0, 0], [4, 1, 0]]
    counts = groups.counts(tokens)
    assert counts is not None
    assert counts.tolist() == [3, 0, 2]


def test_windows_are_those_of_the_lattice_and_come_back():
    groups, tokens = TokenGroups((2, 3), 4), Tokens(torch.randn(2, 24, 5), Side(grid=(4, 6)))
    rows = groups.split(tokens)
    assert torch.equal(rows.x, split_windows(tokens, (2, 3)).x)
    assert rows.side.grid == (2, 3)
    assert torch.equal(groups.join(rows.x, tokens), tokens.x)


def test_more_tokens_than_the_groups_hold_are_refused():
    with pytest.raises(ValueError, match="13 tokens are more than 3 groups of 4"):
        TokenGroups(4, 3).split(Tokens(torch.randn(1, 13, 5)))


@pytest.mark.parametrize("grid, prefix", [((3, 8), 0), ((4, 4), 0), ((24,), 0), (None, 0), ((4, 6), 1)])
def test_a_lattice_that_is_not_one_of_the_windows_is_refused(grid, prefix):
    tokens = Tokens(torch.randn(1, 24, 5), Side(grid=grid, prefix=prefix))
    with pytest.raises(ValueError, match="the lattice must be cut into 4 windows of 2 x 3 without prefix"):
        TokenGroups((2, 3), 4).split(tokens)


@pytest.mark.parametrize("side", [Side(grid=(4, 6), causal=True), Side(grid=(4, 6), lengths=torch.tensor([24]))])
def test_windows_with_an_order_of_tokens_are_refused(side):
    with pytest.raises(ValueError, match="causal and lengths are not supported"):
        TokenGroups((2, 3), 4).split(Tokens(torch.randn(1, 24, 5), side))


@pytest.mark.parametrize("slots, groups", [(0, 1), (1, 0), ((0, 2), 1), ((2, 2, 2), 1)])
def test_sizes_that_are_not_positive_are_refused(slots, groups):
    with pytest.raises(ValueError, match="sizes must be positive"):
        TokenGroups(slots, groups)
