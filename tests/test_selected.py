"""Selected tokens are theirs alone, in every layout, and the core never meets the others."""

import pytest
import torch
from torch import Tensor

from unimodal.selected import selected
from unimodal.side import Side
from unimodal.tokens import Tokens

PLACES = [torch.tensor([3, 0]), torch.tensor([], dtype=torch.int64), torch.tensor([1, 2, 4])]


def rows(prefix: int) -> Tokens:
    x = torch.randn(3, prefix + 5, 4)
    lengths = prefix + torch.tensor([4, 2, 5])
    return Tokens(x, Side(prefix=prefix, lengths=lengths, positions=x[..., :2], grids=((4,), (2,), (5,))))


@pytest.mark.parametrize("prefix", [0, 2])
@pytest.mark.parametrize("packed", [False, True])
def test_each_sequence_keeps_its_prefix_and_the_tokens_at_its_places(prefix, packed):
    whole = rows(prefix)
    some = selected(whole.packed() if packed else whole, PLACES)
    assert some.sequence_lengths() == [prefix + 2, prefix, prefix + 3]
    for row, own, place in zip(some.split(), whole.split(), PLACES, strict=True):
        assert torch.equal(row, torch.cat([own[:prefix], own[prefix:][place]]))
    assert isinstance(some.side.positions, Tensor)
    assert torch.equal(some.side.positions, some.x[..., :2])
    assert some.side.grids is None


def test_places_of_one_number_give_rows_without_padding():
    x = torch.randn(3, 6, 4)
    some = selected(Tokens(x, Side(grid=(2, 3))), torch.tensor([[0, 5], [4, 1], [2, 2]])).padded()
    assert torch.equal(some.x, torch.stack([x[0, [0, 5]], x[1, [4, 1]], x[2, [2, 2]]]))
    assert some.side.lengths is None


def test_places_for_another_number_of_sequences_are_refused():
    with pytest.raises(ValueError, match="places has 2 lists for 3 sequences"):
        selected(rows(1), PLACES[:2])


def test_places_behind_a_sequence_are_refused():
    with pytest.raises(ValueError, match=r"places of a sequence of 2 tokens must be in 0\.\.1, not 2"):
        selected(rows(1), [PLACES[0], torch.tensor([2]), PLACES[2]])


def test_a_mask_is_refused():
    with pytest.raises(ValueError, match="mask"):
        selected(Tokens(torch.randn(1, 3, 4), Side(mask=torch.ones(3, 3, dtype=torch.bool))), [torch.tensor([0])])
