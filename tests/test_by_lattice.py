"""A map of lattices over batches of every layout against a loop over single sequences."""

import math

import pytest
import torch

from unimodal.by_lattice import by_lattice
from unimodal.side import Side
from unimodal.tokens import Tokens

GRIDS = ((2, 3), (1, 4), (2, 3), (5,), (0, 2))


def swept(grid, x, weight):
    """Every token gets what depends on its own, on all before it in its sequence, and on the lattice."""
    return (x * weight).cumsum(1) + 10.0 * len(grid) + math.prod(grid)


def mixed(prefix: int) -> Tokens:
    lengths = torch.tensor([prefix + math.prod(grid) for grid in GRIDS])
    return Tokens(
        torch.randn(len(GRIDS), 10, 3, dtype=torch.float64), Side(grids=GRIDS, prefix=prefix, lengths=lengths)
    )


@pytest.mark.parametrize("prefix", [0, 2])
def test_every_sequence_gets_what_it_gets_alone_in_padded_and_packed_batches(prefix):
    tokens = mixed(prefix)
    alone = [swept(grid, x[None], 2 * x[None])[0] for grid, x in zip(GRIDS, tokens.split(), strict=True)]
    for batch in (tokens, tokens.packed()):
        y = by_lattice(swept, batch.side, batch.x, 2 * batch.x)
        for got, want in zip(batch.replace(y).split(), alone, strict=True):
            assert torch.equal(got, want)


def test_padding_gets_zero_and_no_gradient():
    tokens = mixed(1)
    x = tokens.x.clone().requires_grad_()
    y = by_lattice(swept, tokens.side, x, x)
    y.square().sum().backward()
    lengths = torch.tensor(tokens.sequence_lengths())
    padding = torch.arange(10) >= lengths[:, None]
    assert x.grad is not None
    assert not y[padding].any()
    assert not x.grad[padding].any()
    assert x.grad[~padding].all()


def test_sequences_of_one_lattice_are_one_group():
    calls = []

    def noted(grid, x):
        calls.append((grid, len(x)))
        return x

    tokens = mixed(0)
    by_lattice(noted, tokens.packed().side, tokens.packed().x)
    assert calls == [((2, 3), 2), ((1, 4), 1), ((5,), 1)]
    calls.clear()
    by_lattice(noted, Side(grid=(2, 5)), tokens.x)
    assert calls == [((2, 5), 5)]


def test_a_packed_batch_without_sequences_stays_empty():
    side = Side(grids=(), cu_seqlens=torch.zeros(1, dtype=torch.int32))
    assert by_lattice(swept, side, torch.randn(1, 0, 3), torch.randn(1, 0, 3)).shape == (1, 0, 3)


def test_a_lattice_that_is_missing_or_has_other_tokens_is_refused():
    x = torch.randn(2, 6, 3)
    with pytest.raises(ValueError, match=r"side\.grid .* is needed here"):
        by_lattice(swept, Side(), x, x)
    with pytest.raises(ValueError, match="have 4 tokens, and the batch has 6"):
        by_lattice(swept, Side(grid=(2, 2)), x, x)
    with pytest.raises(ValueError, match="do not fit into 6 tokens"):
        by_lattice(swept, Side(grids=((2, 2), (2, 4)), lengths=torch.tensor([4, 6])), x, x)
    side = Side(grids=((2, 2), (1, 1)), cu_seqlens=torch.tensor([0, 4, 6], dtype=torch.int32))
    with pytest.raises(ValueError, match="have 5 tokens, and the batch has 6"):
        by_lattice(swept, side, x[:1], x[:1])
