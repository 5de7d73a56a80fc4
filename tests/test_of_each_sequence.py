"""Vectors of sequences: the same in every layout, and back beside their tokens."""

import torch

from unimodal.of_each_sequence import at_their_tokens, of_each_sequence
from unimodal.side import Side
from unimodal.tokens import Tokens


def total(x_SND: torch.Tensor) -> torch.Tensor:
    return x_SND.sum(1)


def test_a_uniform_batch_is_reduced_at_once():
    x, calls = torch.randn(3, 5, 2), []
    assert torch.equal(of_each_sequence(lambda t: calls.append(t.shape) or total(t), x, Side()), x.sum(1))
    assert calls == [(3, 5, 2)]


def test_padding_is_left_out_and_packed_is_padded():
    rows = Tokens(torch.randn(3, 5, 2), Side(lengths=torch.tensor([5, 1, 3])))
    expected = torch.stack([row.sum(0) for row in rows.split()])
    packed = rows.packed()
    assert torch.equal(of_each_sequence(total, rows.x, rows.side), expected)
    assert torch.equal(of_each_sequence(total, packed.x, packed.side), expected)


def test_vectors_come_back_where_their_tokens_are():
    values = torch.randn(2, 4)
    assert torch.equal(at_their_tokens(values, Side()), values[:, None])
    side = Side(cu_seqlens=torch.tensor([0, 3, 4], dtype=torch.int32))
    assert torch.equal(at_their_tokens(values, side), values[[0, 0, 0, 1]][None])
