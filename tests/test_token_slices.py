"""Token slices: what is cut apart comes back as it was, in every layout."""

import pytest
import torch

from unimodal.side import Side
from unimodal.token_slices import TokenSlices
from unimodal.tokens import Tokens


@pytest.mark.parametrize("permuted", [False, True])
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("groups", [1, 3, 4, 40])
def test_join_is_the_inverse_of_split(groups, training, permuted):
    slices = TokenSlices(groups=groups, permuted=permuted).train(training)
    for tokens in (0, 1, 3, 8, 63, 100):
        x = torch.randn(2, tokens, 5)
        rows, _, cut = slices.split(x, Side())
        assert rows.shape == (2 * groups, -(-tokens // groups), 5)
        assert torch.equal(slices.join(rows, cut), x)


@pytest.mark.parametrize("permuted", [False, True])
def test_tokens_of_padded_and_packed_sequences_come_back_too(permuted):
    slices = TokenSlices(groups=3, permuted=permuted)
    lengths = torch.tensor([9, 2, 5])
    padded = Tokens(torch.randn(3, 9, 5), Side(prefix=2, lengths=lengths))
    for tokens in (padded, padded.packed()):
        rows, side, cut = slices.split(tokens.x, tokens.side)
        assert side.cu_seqlens is None
        assert side.lengths is not None
        assert int((side.lengths - 2).sum()) == int((lengths - 2).sum())
        back = tokens.replace(slices.join(rows, cut)).split()
        for row, one in zip(padded.split(), back, strict=True):
            torch.testing.assert_close(one, row, rtol=0, atol=1e-6)  # a prefix is averaged over three equal rows
            assert torch.equal(one[2:], row[2:])


def test_a_permuted_cut_spreads_the_neighbours_of_a_long_sequence():
    place = torch.arange(4096.0)[None, :, None]
    rows, _, _ = TokenSlices(groups=8, permuted=True).eval().split(place, Side())
    # A random set of 512 places has a mean of 2047.5 with a standard error of 52, and gaps of 8 on average.
    assert ((rows.mean((1, 2)) - 2047.5).abs() < 4 * 52).all()
    assert (rows.diff(dim=1) > 0).all()
    assert rows.diff(dim=1).amax() > 24


def test_a_shorter_sequence_has_the_order_of_a_longer_one():
    slices = TokenSlices(groups=1, permuted=True).eval()
    long, short = (slices._keys(n, torch.device("cpu")).argsort() for n in (50, 20))
    assert torch.equal(long[long < 20], short)


def test_groups_must_be_positive():
    with pytest.raises(ValueError, match="groups must be positive, not 0"):
        TokenSlices(groups=0)


def test_a_memory_is_refused():
    x = torch.randn(1, 4, 6)
    with pytest.raises(ValueError, match="memory"):
        TokenSlices(groups=2).split(x, Side(memory=Tokens(x)))
