"""The convolution stem: its stride, its field of view, odd sizes and gradients."""

import pytest
import torch

from unimodal.stems.convolution import ConvolutionStem


@pytest.mark.parametrize("widths, stride", [((4,), 2), ((4, 6), 4), ((4, 6, 8), 8)])
@pytest.mark.parametrize("rows, columns", [(16, 24), (17, 31), (8, 9)])
def test_the_stride_is_two_a_stage_and_odd_sizes_are_rounded_down(widths, stride, rows, columns):
    stem = ConvolutionStem(5, widths=widths)
    assert (stem.stride, stem.channels) == (stride, 3)
    assert stem(torch.randn(2, 3, rows, columns)).shape == (2, 5, rows // stride, columns // stride)


def test_one_stage_is_two_convolutions_with_norm_and_gelu_then_pooling_then_a_projection():
    stem = ConvolutionStem(4, widths=(3,), channels=2).double().eval()
    first, norm, _, second, norm_2, _, _ = stem.stages[0]  # type: ignore[misc]
    for module in (norm, norm_2):
        torch.nn.init.uniform_(module.weight, 0.5, 2)
        torch.nn.init.normal_(module.bias)
        module.running_mean.normal_()
        module.running_var.uniform_(0.5, 2)
    pixels = torch.randn(1, 2, 5, 7, dtype=torch.float64)

    def layer(values, convolution, batch_norm):
        out = torch.zeros(3, 5, 7, dtype=torch.float64)
        padded = torch.nn.functional.pad(values, (1, 1, 1, 1))
        for y in range(5):
            for x in range(7):
                out[:, y, x] = (convolution.weight * padded[:, y : y + 3, x : x + 3]).sum((1, 2, 3))
        spread = (batch_norm.running_var + batch_norm.eps).sqrt()
        normed = (out - batch_norm.running_mean[:, None, None]) / spread[:, None, None]
        scaled = normed * batch_norm.weight[:, None, None] + batch_norm.bias[:, None, None]
        return scaled * 0.5 * (1 + torch.erf(scaled / 2**0.5))

    values = layer(layer(pixels[0], first, norm), second, norm_2)
    expected = torch.zeros(4, 2, 3, dtype=torch.float64)
    for y in range(2):
        for x in range(3):
            largest = values[:, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].amax((1, 2))
            expected[:, y, x] = stem.project.weight[:, :, 0, 0] @ largest + stem.project.bias
    torch.testing.assert_close(stem(pixels)[0], expected, rtol=0, atol=1e-12)


def test_pixels_far_from_a_cell_have_no_influence_on_it():
    """Two convolutions at stride 1 and two at stride 2 look 2 + 4 px beyond the edges of a cell of 4 px."""
    stem = ConvolutionStem(5, widths=(4, 6)).eval()
    pixels = torch.randn(1, 3, 8, 40)
    changed = pixels.clone()
    changed[..., 20:] += 1
    same = (stem(changed) == stem(pixels)).all(1)[0].all(0)
    assert same.tolist() == [True] * 3 + [False] * 7


def test_gradients_are_finite_and_reach_every_parameter_and_the_pixels():
    stem = ConvolutionStem(5, widths=(4, 6))
    pixels = torch.randn(2, 3, 13, 10, requires_grad=True)
    stem(pixels).square().sum().backward()
    gradients = {name: p.grad for name, p in stem.named_parameters()} | {"pixels": pixels.grad}
    assert [n for n, g in gradients.items() if g is None or not g.isfinite().all() or not g.any()] == []


def test_each_picture_is_by_itself_when_the_stem_is_evaluated():
    stem = ConvolutionStem(5, widths=(4, 6)).eval()
    pixels = torch.randn(3, 3, 12, 12)
    torch.testing.assert_close(stem(pixels)[1:2], stem(pixels[1:2]), rtol=1e-5, atol=1e-6)
