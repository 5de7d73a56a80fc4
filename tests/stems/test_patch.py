"""The patch stem against equation 1 of its paper in slow loops."""

import pytest
import torch

from unimodal.stems.patch import PatchStem


@pytest.mark.parametrize("rows, columns", [(8, 12), (9, 15), (4, 4)])
@pytest.mark.parametrize("bias", [True, False])
def test_each_token_is_the_projection_of_its_own_flattened_patch(rows, columns, bias):
    stem = PatchStem(5, patch=4, bias=bias).double()
    pixels = torch.randn(2, 3, rows, columns, dtype=torch.float64)
    expected = torch.zeros(2, 5, rows // 4, columns // 4, dtype=torch.float64)
    for b in range(2):
        for y in range(rows // 4):
            for x in range(columns // 4):
                flat = pixels[b, :, 4 * y : 4 * y + 4, 4 * x : 4 * x + 4].flatten()
                expected[b, :, y, x] = stem.project.weight.flatten(1) @ flat
                if stem.project.bias is not None:
                    expected[b, :, y, x] += stem.project.bias
    torch.testing.assert_close(stem(pixels), expected, rtol=0, atol=1e-12)


def test_pixels_behind_the_last_whole_patch_have_no_influence():
    stem = PatchStem(5, patch=4)
    pixels = torch.randn(1, 3, 9, 11)
    changed = pixels.clone()
    changed[..., 8:, :] = 7
    changed[..., 8:] = 7
    torch.testing.assert_close(stem(changed), stem(pixels), rtol=0, atol=0)


def test_a_patch_has_no_influence_on_other_tokens():
    stem = PatchStem(5, patch=4)
    pixels = torch.randn(1, 3, 8, 12)
    changed = pixels.clone()
    changed[..., :4, 4:8] += 1
    difference = (stem(changed) - stem(pixels)).abs().amax(1)[0] > 1e-3
    assert difference.tolist() == [[False, True, False], [False, False, False]]


def test_gradients_are_those_of_a_linear_map():
    stem = PatchStem(3, patch=2, channels=2).double()
    pixels = torch.randn(1, 2, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(stem, (pixels,))
    assert (stem.stride, stem.channels) == (2, 2)
