"""The last token readout."""

import pytest
import torch

from unimodal.readouts.last_token import LastToken
from unimodal.side import Side
from unimodal.tokens import Tokens


def test_it_reads_the_last_real_token_of_each_sequence_in_every_layout():
    x, lengths = torch.randn(3, 5, 4), torch.tensor([5, 1, 3])
    tokens, expected = Tokens(x, Side(lengths=lengths)), torch.stack([x[0, 4], x[1, 0], x[2, 2]])
    assert torch.equal(LastToken(4)(tokens), expected)
    assert torch.equal(LastToken(4)(tokens.packed()), expected)
    assert torch.equal(LastToken(4)(Tokens(x, Side(causal=True))), x[:, 4])


@pytest.mark.parametrize("bias", [True, False])
def test_a_projection_follows_with_or_without_bias(bias):
    readout, x = LastToken(4, width=7, bias=bias), torch.randn(3, 5, 4)
    assert readout.project is not None
    expected = x[:, 4] @ readout.project.weight.T + (readout.project.bias if bias else 0.0)
    torch.testing.assert_close(readout(Tokens(x)), expected)
    assert len(list(readout.parameters())) == 1 + bias


@pytest.mark.parametrize("name", ["mask", "bias"])
def test_a_mask_or_bias_raises(name):
    with pytest.raises(ValueError, match=f"'{name}' is set and not supported"):
        LastToken(4)(Tokens(torch.randn(1, 5, 4), Side().replace(**{name: torch.ones(5, 5).bool()})))
