"""The halving stem: torch's convolutions with norms between, odd sizes, its lattice."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from unimodal.norms.batch import BatchNorm
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.reparameterize import reparameterize
from unimodal.stems.halving_convolution import HalvingConvolutionStem


def test_it_is_two_strided_convolutions_with_norm_gelu_norm():
    stem: Any = HalvingConvolutionStem(6, channels=2).double()
    for parameter in stem.parameters():
        torch.nn.init.normal_(parameter)
    h = torch.randn(1, 2, 9, 12, dtype=torch.float64)
    made = stem(h)
    for i, width in enumerate((3, 6)):
        h = F.gelu(h) if i else h
        h = F.conv2d(h, stem.convolutions[i].weight, stem.convolutions[i].bias, stride=2, padding=1)
        h = (h - h.mean(1, keepdim=True)) / (h.var(1, keepdim=True, correction=0) + 1e-6).sqrt()
        h = h * stem.norms[i].weight.view(1, width, 1, 1) + stem.norms[i].bias.view(1, width, 1, 1)
    torch.testing.assert_close(made, h)


@pytest.mark.parametrize("widths, stride", [((), 2), (None, 4), ((4, 6), 8)])
@pytest.mark.parametrize("rows, columns", [(16, 24), (17, 31), (1, 9)])
def test_each_convolution_halves_with_rounding_up(widths, stride, rows, columns):
    stem = HalvingConvolutionStem(8, widths=widths)
    assert (stem.stride, stem.channels) == (stride, 3)
    made = stem(torch.randn(2, 3, rows, columns))
    assert made.shape == (2, 8, *stem.cells((rows, columns)))
    assert stem.cells((rows, columns)) == (-(-rows // stride), -(-columns // stride))


def test_a_cell_sees_seven_px_of_each_axis():
    stem = HalvingConvolutionStem(8).double()
    pixels = torch.randn(1, 3, 32, 32, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(stem(pixels)[0, 1, 4, 4], pixels)
    seen = slope[0].abs().sum(0) > 0
    assert seen.any(1).nonzero().flatten().tolist() == seen.any(0).nonzero().flatten().tolist() == list(range(13, 20))


def test_widths_of_zero_are_refused():
    with pytest.raises(ValueError, match=r"widths must be positive, not \(0,\)"):
        HalvingConvolutionStem(8, widths=(0,))


def test_in_use_batch_norms_are_in_the_convolutions_and_layer_norms_stay():
    pixels = torch.randn(2, 3, 9, 12, dtype=torch.float64)
    for norm, left in ((BatchNorm, 0), (LayerNorm, 2)):
        stem: Any = HalvingConvolutionStem(6, norm=Part(norm)).double().eval()
        for tensor in stem.state_dict().values():
            torch.nn.init.uniform_(tensor, 0.5, 2.0)
        made: Any = reparameterize(stem)
        torch.testing.assert_close(made(pixels), stem(pixels), rtol=1e-10, atol=1e-10)
        assert len([m for m in made.modules() if isinstance(m, norm)]) == left
