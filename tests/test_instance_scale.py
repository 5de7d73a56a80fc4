"""Mean and spread of a window against loops, and the unit of epsilon."""

import math

import pytest
import torch

from unimodal.instance_scale import instance_scale


def test_it_equals_the_equation():
    x = torch.randn(2, 3, 7, dtype=torch.float64) * 5 + 2
    mean, scale = instance_scale(x)
    for b in range(2):
        for c in range(3):
            row = x[b, c].tolist()
            level = sum(row) / 7
            assert mean[b, c, 0].item() == pytest.approx(level, abs=1e-12)
            spread = math.sqrt(sum((v - level) ** 2 for v in row) / 7 + 1e-5)
            assert scale[b, c, 0].item() == pytest.approx(spread, abs=1e-12)


def test_an_affine_map_with_its_unit_changes_nothing_of_the_scaled_window():
    x = torch.randn(3, 9, dtype=torch.float64) * 1e-3
    unit = torch.tensor([[1.0], [0.1], [2.0]], dtype=torch.float64)
    mean, scale = instance_scale(x, unit)
    moved, wider = instance_scale(x * 50 - 8, unit * 50)
    torch.testing.assert_close((x * 50 - 8 - moved) / wider, (x - mean) / scale, rtol=0, atol=1e-9)


def test_a_constant_window_is_zero_and_finite():
    x = torch.full((2, 5), 3.0)
    mean, scale = instance_scale(x)
    assert not ((x - mean) / scale).any()
