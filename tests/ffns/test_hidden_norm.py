"""The feed-forward with a norm on its hidden channels: its equation, timm's, and how it folds."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from unimodal.ffns.hidden_norm import HiddenNorm
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part


def randomised(dim: int, **options: Any) -> Any:
    ffn = HiddenNorm(dim, **options).double().eval()
    for parameter in ffn.parameters():
        torch.nn.init.normal_(parameter)
    return ffn


@pytest.mark.parametrize("bias", [True, False])
def test_it_is_the_equation(bias):
    ffn, x = randomised(3, ratio=2, bias=bias), torch.randn(2, 5, 3, dtype=torch.float64)
    h = F.gelu(x @ ffn.to_hidden.weight.mT + ffn.to_hidden.bias)
    length = h.square().sum(1, keepdim=True).sqrt()
    h = (ffn.norm.weight * length / (length.mean(-1, keepdim=True) + 1e-6) + 1) * h + ffn.norm.bias
    expected = h @ ffn.to_out.weight.mT + (ffn.to_out.bias if bias else 0.0)
    torch.testing.assert_close(ffn(x), expected)
    assert (ffn.to_out.bias is not None) == bias


def test_it_is_timms_feed_forward_of_convnext_v2():
    theirs = pytest.importorskip("timm.layers").GlobalResponseNormMlp(4, 12).double()
    ffn, x = randomised(4, ratio=3), torch.randn(2, 3, 5, 4, dtype=torch.float64)
    names = {"to_hidden": "fc1", "norm": "grn", "to_out": "fc2"}
    theirs.load_state_dict({f"{names[k.split('.')[0]]}.{k.split('.')[1]}": v for k, v in ffn.state_dict().items()})
    torch.testing.assert_close(ffn(x.flatten(1, 2)), theirs(x).flatten(1, 2), rtol=0, atol=1e-13)


@pytest.mark.parametrize("bias", [True, False])
def test_the_norms_additive_term_goes_into_the_last_map(bias):
    ffn, x = randomised(3, bias=bias), torch.randn(2, 5, 3, dtype=torch.float64)
    before = {name: value.clone() for name, value in ffn.state_dict().items()}
    deployed = ffn.deployed()
    assert deployed.norm.bias is None
    assert deployed.to_out.bias is not None
    torch.testing.assert_close(deployed(x), ffn(x), rtol=0, atol=1e-12)
    assert all(torch.equal(value, before[name]) for name, value in ffn.state_dict().items())


def test_a_factor_and_a_shift_behind_it_go_into_the_last_map():
    ffn, x = randomised(3, bias=False), torch.randn(2, 5, 3, dtype=torch.float64)
    factor, shift = torch.randn(2, 3, dtype=torch.float64)
    torch.testing.assert_close(ffn.scaled(factor, shift)(x), factor * ffn(x) + shift)


def test_a_norm_that_does_not_come_apart_is_left():
    ffn = randomised(3, norm=Part(LayerNorm))
    assert ffn.deployed() is ffn


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="activation must be one of"):
        HiddenNorm(3, activation="gelv")
