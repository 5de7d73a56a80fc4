"""Activations by name, against their formulas."""

import math

import pytest
import torch

from unimodal.activation import activation

FORMULAS = {
    "gelu": lambda x: 0.5 * x * (1 + math.erf(x / math.sqrt(2))),
    "gelu_tanh": lambda x: 0.5 * x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "gelu_quick": lambda x: x / (1 + math.exp(-1.702 * x)),
    "relu": lambda x: max(x, 0.0),
    "silu": lambda x: x / (1 + math.exp(-x)),
    "tanh": math.tanh,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_each_name_computes_its_formula(name):
    x = torch.linspace(-6, 6, 63, dtype=torch.float64)
    expected = torch.tensor([FORMULAS[name](value) for value in x.tolist()], dtype=torch.float64)
    torch.testing.assert_close(activation(name)(x), expected, rtol=0, atol=1e-12)


def test_an_unknown_name_raises_and_lists_every_name():
    with pytest.raises(ValueError, match="activation must be one of gelu, .*, not 'swish'") as caught:
        activation("swish")
    assert all(name in str(caught.value) for name in FORMULAS)
