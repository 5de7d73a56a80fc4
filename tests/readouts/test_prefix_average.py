"""The prefix average against its equation."""

import pytest
import torch

from unimodal.readouts.class_token import ClassToken
from unimodal.readouts.prefix_average import PrefixAverage
from unimodal.side import Side
from unimodal.tokens import Tokens


def test_it_averages_affine_maps_of_the_first_tokens():
    readout = PrefixAverage(6, count=2, width=4).double()
    x = torch.randn(3, 5, 6, dtype=torch.float64)
    first, second = (torch.nn.utils.parameters_to_vector(h.parameters()).split([24, 4]) for h in readout.heads)
    for row, z in zip(x, readout(Tokens(x, Side(prefix=2))), strict=True):
        want = sum(w.view(4, 6) @ row[r] + b for r, (w, b) in enumerate((first, second))) / 2
        torch.testing.assert_close(z, want, rtol=0, atol=1e-12)


def test_one_token_without_head_is_the_class_token():
    tokens = Tokens(torch.randn(3, 5, 6), Side(prefix=1))
    assert torch.equal(PrefixAverage(6)(tokens), ClassToken(6)(tokens))


def test_packed_sequences_of_different_lengths_give_what_they_give_alone():
    readout = PrefixAverage(6, count=2)
    rows = [torch.randn(n, 6) for n in (2, 5, 3)]
    packed = Tokens(torch.cat(rows)[None], Side(prefix=2, cu_seqlens=torch.tensor([0, 2, 7, 10], dtype=torch.int32)))
    alone = torch.cat([readout(Tokens(row[None], Side(prefix=2))) for row in rows])
    assert torch.equal(readout(packed), alone)


def test_too_few_prefix_tokens_are_refused():
    with pytest.raises(ValueError, match="needs 2 prefix tokens, not 1"):
        PrefixAverage(6, count=2)(Tokens(torch.randn(1, 4, 6), Side(prefix=1)))
