"""The pixel target: patches as they are, or each of them at mean 0 and variance 1."""

import pytest
import torch

from unimodal.patches import patchify
from unimodal.pixel_target import PixelTarget


def test_pixels_are_the_patches():
    values = torch.randn(2, 3, 8, 12)
    assert torch.equal(PixelTarget()(values, (4, 4)), patchify(values, (4, 4)))


@pytest.mark.parametrize("shape, patch", [((2, 3, 8, 12), (4, 4)), ((1, 1, 4, 8, 8), (2, 4, 4))])
def test_normalised_patches_equal_the_equation(shape, patch):
    values = torch.randn(shape, dtype=torch.float64) * 3 + 2
    for box, found in zip(patchify(values, patch)[0], PixelTarget(normalised=True)(values, patch)[0], strict=True):
        mean = sum(box.tolist()) / len(box)
        variance = sum((value - mean) ** 2 for value in box.tolist()) / (len(box) - 1)
        torch.testing.assert_close(found, (box - mean) / (variance + 1e-6) ** 0.5)


def test_the_brightness_and_contrast_of_a_patch_do_not_matter_when_normalised():
    values, target = torch.rand(1, 1, 8, 8, dtype=torch.float64), PixelTarget(normalised=True)
    torch.testing.assert_close(target(values, (4, 4)), target(5 * values - 3, (4, 4)), rtol=0, atol=1e-4)
    assert not target(torch.full((1, 1, 8, 8), 0.3), (4, 4)).abs().max() > 1e-3
