"""The gated feed-forward against its equation."""

import pytest
import torch

from unimodal.activation import activation
from unimodal.ffns.gated import Gated


@pytest.mark.parametrize("name", ["gelu", "silu"])
@pytest.mark.parametrize("bias", [True, False])
def test_it_equals_the_equation_token_by_token(name, bias):
    ffn, x = Gated(7, hidden=11, activation=name, bias=bias).double(), torch.randn(2, 5, 7, dtype=torch.float64)
    y, act = ffn(x), activation(name)
    w, v = ffn.to_hidden.weight.split(11)
    for b in range(2):
        for n in range(5):
            at, behind = (ffn.to_hidden.bias.split(11), ffn.to_out.bias) if bias else ((0.0, 0.0), 0.0)
            hidden = act(w @ x[b, n] + at[0]) * (v @ x[b, n] + at[1])
            torch.testing.assert_close(y[b, n], ffn.to_out.weight @ hidden + behind, rtol=0, atol=1e-12)


def test_gradients_equal_finite_differences():
    ffn, x = Gated(3, hidden=5).double(), torch.randn(1, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ffn, x)


def test_the_default_has_as_many_weights_as_a_plain_one_of_ratio_four():
    assert sum(p.numel() for p in Gated(48).parameters()) == 2 * 4 * 48 * 48


def test_an_unknown_activation_raises():
    with pytest.raises(ValueError, match="activation must be one of .* not 'swish'"):
        Gated(6, activation="swish")
