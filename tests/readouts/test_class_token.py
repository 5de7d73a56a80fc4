"""The class token readout."""

import pytest
import torch

from unimodal.readouts.class_token import ClassToken
from unimodal.side import Side
from unimodal.tokens import Tokens


def test_it_reads_the_first_token_of_each_sequence_in_every_layout():
    tokens = Tokens(torch.randn(3, 5, 4), Side(prefix=2, lengths=torch.tensor([5, 2, 3])))
    assert torch.equal(ClassToken(4)(tokens), tokens.x[:, 0])
    assert torch.equal(ClassToken(4)(tokens.packed()), tokens.x[:, 0])


def test_a_projection_has_no_bias():
    readout, x = ClassToken(4, width=7), torch.randn(3, 5, 4)
    assert readout.project is not None
    z = readout(Tokens(x, Side(prefix=1)))
    for s in range(3):
        for e in range(7):
            torch.testing.assert_close(z[s, e], readout.project.weight[e] @ x[s, 0])
    assert len(list(readout.parameters())) == 1


def test_tokens_without_a_prefix_raise():
    with pytest.raises(ValueError, match="no prefix, so there is no class token"):
        ClassToken(4)(Tokens(torch.randn(1, 5, 4)))
