"""The head against its equation, and its two limits."""

import pytest
import torch

from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.readouts.class_token import ClassToken
from unimodal.readouts.head import Head
from unimodal.readouts.mean import Mean
from unimodal.side import Side
from unimodal.tokens import Tokens


def tokens(prefix=1):
    return Tokens(torch.randn(3, 7, 12, dtype=torch.float64), Side(prefix=prefix))


def test_it_is_the_activation_of_a_map_of_the_norm_of_the_pooled_vector():
    head = Head(12, pool=Part(Mean), norm=Part(LayerNorm, eps=1e-3), width=5, activation="tanh").double()
    given = tokens(prefix=2)
    assert head.norm is not None
    assert head.project is not None
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    for row, got in zip(given.x, head(given), strict=True):
        z = torch.stack([row[i] for i in range(2, 7)]).sum(0) / 5
        z = (z - z.mean()) / (z.var(correction=0) + 1e-3).sqrt() * head.norm.weight + head.norm.bias
        want = torch.stack([torch.tanh(w @ z + b) for w, b in zip(head.project.weight, head.project.bias, strict=True)])
        torch.testing.assert_close(got, want, rtol=0, atol=1e-12)


def test_without_norm_map_and_activation_it_is_its_pool():
    given = tokens()
    assert torch.equal(Head(12, pool=Part(ClassToken))(given), given.x[:, 0])


def test_every_parameter_gets_a_gradient():
    head = Head(12, pool=Part(ClassToken, width=12), norm=Part(LayerNorm), width=5).double()
    head(tokens()).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="activation must be one of"):
        Head(12, pool=Part(Mean), activation="softplus")
