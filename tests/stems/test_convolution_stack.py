"""The stack of convolutions: torch's convolutions with norms and activations, its lattice, its form for use."""

from typing import Any

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F

from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.reparameterize import reparameterize
from unimodal.stems.convolution_stack import ConvolutionStackStem


def trained(**options: Any) -> Any:
    """With statistics, factors and shifts of any size."""
    stem: Any = ConvolutionStackStem(8, **{"widths": (6, 4), "strides": (2, 1, 2), **options}).double().eval()
    for parameter in stem.parameters():
        nn.init.normal_(parameter)
    for name, buffer in stem.named_buffers():
        nn.init.uniform_(buffer, 0.5, 2.0) if "var" in name else nn.init.normal_(buffer)
    return stem


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("activated", [False, True])
def test_it_is_convolution_norm_activation_for_each_width(activated, bias):
    stem = trained(activated=activated, activation="gelu", bias=bias)
    h = torch.randn(2, 3, 9, 14, dtype=torch.float64)
    made = stem(h)
    for i, (convolution, norm, stride) in enumerate(zip(stem.convolutions, stem.norms, (2, 1, 2), strict=True)):
        h = F.conv2d(h, convolution.weight, convolution.bias, stride=stride, padding=1)
        h = F.batch_norm(h, norm.running_mean, norm.running_var, norm.weight, norm.bias)
        h = F.gelu(h) if activated or i < 2 else h
    torch.testing.assert_close(made, h)


@pytest.mark.parametrize("rows, columns", [(16, 24), (17, 31), (1, 9)])
def test_an_axis_is_divided_by_the_product_of_the_strides_with_rounding_up(rows, columns):
    stem = ConvolutionStackStem(64)
    assert (stem.stride, stem.channels) == (4, 3)
    assert stem.cells((rows, columns)) == (-(-rows // 4), -(-columns // 4))
    assert stem(torch.randn(2, 3, rows, columns)).shape == (2, 64, *stem.cells((rows, columns)))


@pytest.mark.parametrize("bias", [False, True])
def test_in_use_its_norms_are_in_the_convolutions(bias):
    stem, pixels = trained(bias=bias), torch.randn(2, 3, 11, 8, dtype=torch.float64)
    before = {name: t.clone() for name, t in stem.state_dict().items()}
    made: Any = reparameterize(stem)
    torch.testing.assert_close(made(pixels), stem(pixels), rtol=0, atol=1e-10)
    assert {type(layer) for layer in made.norms} == {nn.Identity}
    again: Any = reparameterize(made)
    assert all(torch.equal(a, b) for a, b in zip(again.parameters(), made.parameters(), strict=True))
    assert all(torch.equal(before[name], t) for name, t in stem.state_dict().items())


def test_norms_that_see_the_token_stay():
    stem, pixels = trained(norm=Part(LayerNorm)), torch.randn(1, 3, 8, 8, dtype=torch.float64)
    made: Any = reparameterize(stem)
    assert torch.equal(made(pixels), stem(pixels))
    assert {type(layer) for layer in made.norms} == {LayerNorm}


def test_gradients_reach_every_parameter():
    stem = ConvolutionStackStem(8, widths=(6,), strides=(2, 1)).train()
    stem(torch.randn(2, 3, 8, 8)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in stem.parameters())


@pytest.mark.parametrize(
    "options, cause",
    [
        ({"widths": (4,), "strides": (2,)}, r"1 widths and D need 2 strides, not \(2,\)"),
        ({"widths": (0,), "strides": (2, 2)}, r"must be positive, not \(0,\), \(2, 2\)"),
        ({"widths": (4,), "strides": (2, 0)}, r"must be positive, not \(4,\), \(2, 0\)"),
        ({"activation": "step"}, "activation must be one of"),
    ],
)
def test_what_does_not_fit_is_refused(options, cause):
    with pytest.raises(ValueError, match=cause):
        ConvolutionStackStem(8, **options)
