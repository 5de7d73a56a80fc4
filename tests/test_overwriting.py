"""Overwriting: the activation's values to the bit, in h's memory without a gradient and nowhere else."""

import pytest
import torch

from unimodal.activation import activation
from unimodal.overwriting import overwriting

NAMES = ("gelu", "gelu_tanh", "gelu_quick", "relu", "silu", "tanh")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", NAMES)
def test_the_values_are_those_of_the_activation(name, dtype):
    act, h = activation(name), torch.randn(3, 70).to(dtype)
    wanted = act(h.clone())
    assert torch.equal(overwriting(act, h), wanted)


def test_without_a_gradient_the_result_lies_where_h_was():
    h = torch.randn(3, 70)
    assert overwriting(activation("gelu"), h).data_ptr() == h.data_ptr()


def test_with_a_gradient_h_stays_as_it_is_and_gets_it():
    h = torch.randn(3, 70, dtype=torch.float64, requires_grad=True)
    before = h.detach().clone()
    assert torch.autograd.gradcheck(lambda h: overwriting(activation("gelu"), h), h)
    assert torch.equal(h, before)
    with torch.no_grad():
        kept = overwriting(activation("gelu"), h)
    assert kept.data_ptr() != h.data_ptr()


def test_an_activation_without_such_a_form_leaves_h_as_it_is():
    h = torch.randn(3, 70)
    assert overwriting(activation("gelu_quick"), h).data_ptr() != h.data_ptr()
