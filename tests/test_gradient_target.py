"""The gradient map against loops and scipy, and what it is of a constant."""

import numpy as np
import pytest
import torch

from unimodal.gradient_target import GradientTarget
from unimodal.patches import patchify


def test_it_is_the_magnitude_of_the_two_sobel_kernels():
    picture = torch.randn(5, 7, dtype=torch.float64)
    found = GradientTarget.steepness(picture)
    down = np.outer([-1, 0, 1], [1, 2, 1]) / 4
    for y, x in np.ndindex(5, 7):
        g_y = g_x = 0.0
        for j, i in np.ndindex(3, 3):
            value = picture[min(max(y + j - 1, 0), 4), min(max(x + i - 1, 0), 6)]
            g_y, g_x = g_y + down[j, i] * value, g_x + down.T[j, i] * value
        assert float(found[y, x]) == pytest.approx(float(((g_y**2 + g_x**2) / 2) ** 0.5))


@pytest.mark.parametrize("shape", [(2, 3, 17, 23), (2, 1, 4, 9, 12), (1, 1)])
def test_it_equals_scipy_slice_by_slice(shape):
    ndimage = pytest.importorskip("scipy.ndimage")
    values = torch.rand(shape, dtype=torch.float64)
    expected = np.stack(
        [
            np.sqrt((ndimage.sobel(one, 0) ** 2 + ndimage.sobel(one, 1) ** 2) / 2) / 4
            for one in values.reshape(-1, *shape[-2:]).numpy()
        ]
    ).reshape(shape)
    for dtype in (torch.float64, torch.float32):
        found = GradientTarget.steepness(values.to(dtype))
        torch.testing.assert_close(found.double(), torch.from_numpy(expected), rtol=0, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (1, 1, 4, 8, 8)])
def test_a_constant_has_none_exactly(shape):
    assert not GradientTarget.steepness(torch.full(shape, 0.3)).any()


def test_the_slices_of_a_volume_know_nothing_of_each_other():
    steps = torch.arange(4.0).view(1, 1, 4, 1, 1).expand(-1, -1, -1, 8, 8)
    assert not GradientTarget.steepness(steps).any()
    volume = torch.randn(1, 1, 4, 8, 8)
    other = volume.clone()
    other[:, :, 2] = torch.randn(8, 8)
    same = (GradientTarget.steepness(volume) == GradientTarget.steepness(other)).flatten(3).all(-1)
    assert same[0, 0].tolist() == [True, True, False, True]


def test_its_patches_are_those_of_the_map():
    values = torch.randn(2, 1, 4, 8, 8)
    found = GradientTarget()(values, (2, 4, 4))
    assert torch.equal(found, patchify(GradientTarget.steepness(values), (2, 4, 4)))
