"""Squeeze and excitation against its equation in loops, and what must not influence a sequence's gates."""

from typing import Any

import pytest
import torch

from unimodal.mixers.squeeze_excitation import SqueezeExcitation
from unimodal.side import Side


def randomised(dim: int, **options: Any) -> Any:
    mixer = SqueezeExcitation(dim, **options).double()
    for parameter in mixer.parameters():
        torch.nn.init.normal_(parameter)
    return mixer


def test_it_is_the_equation():
    mixer, x = randomised(4, hidden=3), torch.randn(2, 5, 4, dtype=torch.float64)
    y = mixer(x)
    for b in range(2):
        mean = sum(x[b, n] for n in range(5)) / 5
        hidden = [
            max(0.0, float(mixer.to_hidden.weight[f].detach() @ mean + mixer.to_hidden.bias[f].detach()))
            for f in range(3)
        ]
        for d in range(4):
            gate = mixer.to_gate.bias[d] + sum(mixer.to_gate.weight[d, f] * hidden[f] for f in range(3))
            for n in range(5):
                torch.testing.assert_close(y[b, n, d], x[b, n, d] / (1 + torch.exp(-gate)))


def test_the_hidden_width_is_a_quarter():
    assert SqueezeExcitation(40).to_hidden.out_features == 10
    assert SqueezeExcitation(2).to_hidden.out_features == 1


def test_padding_and_other_sequences_have_no_influence():
    mixer, x = randomised(4), torch.randn(2, 6, 4, dtype=torch.float64)
    side = Side(lengths=torch.tensor([4, 6]))
    before = mixer(x, side)
    x[0, 4:] += 5.0
    x[1] -= 1.0
    assert torch.equal(mixer(x, side)[0, :4], before[0, :4])
    torch.testing.assert_close(before[0, :4], mixer(x[:1, :4])[0])


def test_gates_of_zero_weights_are_a_half():
    mixer, x = SqueezeExcitation(4), torch.randn(1, 3, 4)
    for parameter in mixer.parameters():
        torch.nn.init.zeros_(parameter)
    assert torch.equal(mixer(x), x / 2)


def test_a_hidden_width_of_zero_is_refused():
    with pytest.raises(ValueError, match="hidden must be positive, not 0"):
        SqueezeExcitation(4, hidden=0)


def test_causal_order_is_refused():
    with pytest.raises(ValueError, match="causal"):
        SqueezeExcitation(4)(torch.randn(1, 3, 4), Side(causal=True))
