"""The plain feed-forward against its equation."""

import pytest
import torch

from unimodal.activation import activation
from unimodal.ffns.plain import Plain


@pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "gelu_quick", "relu", "silu"])
@pytest.mark.parametrize("bias", [True, False])
def test_it_equals_the_equation_token_by_token(name, bias):
    ffn, x = Plain(7, hidden=11, activation=name, bias=bias).double(), torch.randn(2, 5, 7, dtype=torch.float64)
    y, act = ffn(x), activation(name)
    for b in range(2):
        for n in range(5):
            inner = [ffn.to_hidden.weight[f] @ x[b, n] + (ffn.to_hidden.bias[f] if bias else 0.0) for f in range(11)]
            hidden = torch.stack([act(value) for value in inner])
            outer = [ffn.to_out.weight[d] @ hidden + (ffn.to_out.bias[d] if bias else 0.0) for d in range(7)]
            torch.testing.assert_close(y[b, n], torch.stack(outer), rtol=0, atol=1e-12)


def test_gradients_equal_finite_differences():
    ffn, x = Plain(3, hidden=5).double(), torch.randn(1, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(ffn, x)


def test_the_hidden_width_is_the_ratio_times_the_width_unless_it_is_given():
    assert Plain(6).to_hidden.weight.shape == (24, 6)
    assert Plain(6, ratio=2.5).to_hidden.weight.shape == (15, 6)
    assert Plain(6, hidden=7, ratio=2.5).to_hidden.weight.shape == (7, 6)


def test_an_unknown_activation_raises():
    with pytest.raises(ValueError, match="activation must be one of .* not 'gleu'"):
        Plain(6, activation="gleu")
