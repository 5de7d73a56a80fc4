"""The feed-forward ``bottlenecked`` against its equation."""

import math

import pytest
import torch

from unimodal.ffns.bottlenecked import Bottlenecked
from unimodal.ffns.plain import Plain
from unimodal.part import Part


@pytest.fixture
def part():
    part = Bottlenecked(5, width=3, scale=0.7).double().eval()
    for linear in (part.to_hidden, part.to_out):
        torch.nn.init.normal_(linear.bias)
    return part


def test_the_output_is_read_and_corrected(part):
    x = torch.randn(2, 4, 5).double()
    out = part(x)
    for b, n in torch.cartesian_prod(torch.arange(2), torch.arange(4)).tolist():
        h = part.ffn(x)[b, n]
        inner = []
        for row, bias in zip(part.to_hidden.weight, part.to_hidden.bias, strict=True):
            a = (row @ h + bias).item()
            inner.append(a / (1 + math.exp(-1.702 * a)))
        corrected = h + 0.7 * (part.to_out.weight @ torch.tensor(inner).double() + part.to_out.bias)
        torch.testing.assert_close(out[b, n], corrected)


def test_at_scale_zero_it_is_the_feed_forward():
    part = Bottlenecked(5, ffn=Part(Plain, hidden=9), scale=0.0).train()
    x = torch.randn(2, 4, 5)
    assert torch.equal(part(x), part.ffn(x))


def test_numbers_are_dropped_in_training_only(part):
    x = torch.randn(1, 200, 5).double()
    assert torch.equal(part(x), part(x))
    assert not torch.equal(part.train()(x), part(x))


def test_a_layer_scale_behind_it_can_be_taken_into_its_maps(part):
    """t (h + s A(h)) = t h + s A'(t h): what the released code for pictures computes, with other weights."""
    x, t = torch.randn(2, 4, 5).double(), torch.rand(5).double() + 0.5
    outside = Bottlenecked(5, width=3, scale=0.7).double().eval()
    outside.load_state_dict(part.state_dict())
    with torch.no_grad():
        outside.ffn.to_out.weight.mul_(t[:, None])
        outside.ffn.to_out.bias.mul_(t)
        outside.to_hidden.weight.div_(t)
        outside.to_out.weight.mul_(t[:, None])
        outside.to_out.bias.mul_(t)
    torch.testing.assert_close(outside(x), t * part(x))


def test_it_has_the_released_number_of_parameters():
    """Any2Point's, 768 wide, beside a frozen feed-forward."""
    with torch.device("meta"):
        part = Bottlenecked(768)
    assert sum(p.numel() for name, p in part.named_parameters() if not name.startswith("ffn.")) == 25_360


def test_a_width_of_nothing_is_refused():
    with pytest.raises(ValueError, match="width must be positive, not 0"):
        Bottlenecked(4, width=0)


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="activation must be one of"):
        Bottlenecked(4, activation="swish")


def test_a_rate_of_one_is_refused():
    with pytest.raises(ValueError, match=r"dropout is a probability below 1, not 1\.0"):
        Bottlenecked(4, dropout=1.0)
