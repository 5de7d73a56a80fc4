"""The feed-forward with dropout: its equation with known draws, and the plain one out of training."""

import pytest
import torch
import torch.nn.functional as F

from unimodal.ffns.dropout import DropoutFFN
from unimodal.ffns.plain import Plain


def test_while_training_it_is_the_equation_with_both_draws():
    ffn, x = DropoutFFN(6, hidden=9, activation="relu", rate=0.5).train().double(), torch.randn(2, 3, 6).double()
    torch.manual_seed(4)
    y = ffn(x)
    torch.manual_seed(4)
    inner = F.dropout(torch.ones(2, 3, 9, dtype=torch.float64), 0.5)
    outer = F.dropout(torch.ones(2, 3, 6, dtype=torch.float64), 0.5)
    for b in range(2):
        for n in range(3):
            hidden = torch.stack([ffn.to_hidden.weight[f] @ x[b, n] + ffn.to_hidden.bias[f] for f in range(9)])
            hidden = hidden.clamp(min=0) * inner[b, n]
            expected = (ffn.to_out.weight @ hidden + ffn.to_out.bias) * outer[b, n]
            torch.testing.assert_close(y[b, n], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("rate", "training"), [(0.5, False), (0.0, True)])
def test_without_dropping_it_is_the_plain_feed_forward_with_the_same_weights(rate, training):
    ffn, plain, x = DropoutFFN(6, rate=rate).train(training), Plain(6), torch.randn(2, 3, 6)
    plain.load_state_dict(ffn.state_dict())
    assert torch.equal(ffn(x), plain(x))


def test_an_unknown_activation_raises():
    with pytest.raises(ValueError, match="activation must be one of .* not 'gleu'"):
        DropoutFFN(6, activation="gleu")


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_rate_that_is_no_probability_below_one_raises(rate):
    with pytest.raises(ValueError, match=f"rate is a probability below 1, not {rate}"):
        DropoutFFN(6, rate=rate)
