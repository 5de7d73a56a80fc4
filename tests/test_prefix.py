"""Learned tokens in front of every sequence."""

import pytest
import torch

from unimodal.prefix import Prefix
from unimodal.side import Side
from unimodal.tokens import Tokens


def ragged() -> Tokens:
    real = torch.arange(5) < torch.tensor([5, 2])[:, None]
    side = Side(
        grids=((1, 5), (2, 1)),
        positions=torch.randn(2, 5, 2) * real[..., None],
        size=torch.randint(1, 9, (2, 5)) * real,
        score=torch.rand(2, 5) * real,
        modality=torch.tensor([[3] * 5, [4] * 5]) * real,
        lengths=torch.tensor([5, 2]),
    )
    return Tokens(torch.randn(2, 5, 4) * real[..., None], side)


def test_the_tokens_stand_in_front_of_every_row():
    prefix, x = Prefix(4, count=3), torch.randn(2, 5, 4)
    tokens = prefix(Tokens(x, Side(grid=(5,), causal=True)))
    assert torch.equal(tokens.x, torch.cat([prefix.tokens.expand(2, 3, 4), x], 1))
    assert (tokens.side.prefix, tokens.side.grid, tokens.side.causal) == (3, (5,), True)


def test_packed_and_padded_batches_get_the_same_sequences():
    prefix, tokens = Prefix(4, count=3), ragged()
    padded, packed = prefix(tokens), prefix(tokens.packed())
    assert padded.side.lengths.tolist() == [8, 5]
    assert packed.side.cu_seqlens.tolist() == [0, 8, 13]
    assert packed.side.cu_seqlens.dtype == torch.int32
    for name in ("positions", "size", "score", "modality"):
        assert torch.equal(getattr(packed.side, name), getattr(padded.packed().side, name))
    assert torch.equal(packed.x, padded.packed().x)
    assert packed.side.prefix == padded.side.prefix == 3


def test_the_new_tokens_have_position_zero_size_one_and_the_modality_of_their_sequence():
    side = Prefix(4, count=3)(ragged()).side
    assert not side.positions[:, :3].any()
    assert (side.size[:, :3] == 1).all()
    assert side.modality[:, :3].tolist() == [[3, 3, 3], [4, 4, 4]]
    assert side.size.dtype == torch.int64


def test_a_second_prefix_stands_before_the_first_and_both_count():
    first, second, x = Prefix(4, count=1), Prefix(4, count=2), torch.randn(1, 5, 4)
    tokens = second(first(Tokens(x)))
    assert tokens.side.prefix == 3
    assert torch.equal(tokens.x[0, :3], torch.cat([second.tokens, first.tokens]))
    assert torch.equal(tokens.lattice().x, x)


def test_each_token_gathers_the_gradient_of_every_sequence():
    prefix = Prefix(4, count=2)
    prefix(ragged().packed()).x.sum().backward()
    assert prefix.tokens.grad is not None
    assert torch.equal(prefix.tokens.grad, torch.full((2, 4), 2.0))


def test_the_dtype_of_the_tokens_is_kept():
    assert Prefix(4, count=2)(Tokens(torch.randn(1, 5, 4).bfloat16())).x.dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["mask", "bias"])
def test_a_mask_or_bias_raises(name):
    tokens = Tokens(torch.randn(1, 5, 4), Side().replace(**{name: torch.ones(5, 5).bool()}))
    with pytest.raises(ValueError, match=f"'{name}' is set and not supported"):
        Prefix(4, count=1)(tokens)
