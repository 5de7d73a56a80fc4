"""Positive random features: unbiased with Gaussian rows, and orthogonal."""

import numpy as np
import pytest
import torch

from unimodal.random_features import log_features, orthogonal_rows


@pytest.mark.parametrize("features, width", [(5, 8), (8, 8), (20, 8)])
def test_rows_are_orthogonal_within_every_group_and_one_seed_gives_the_same(features, width):
    rows = orthogonal_rows(features, width, 3, gaussian=False)
    assert rows.shape == (features, width)
    for start in range(0, features, width):
        group = rows[start : start + width]
        np.testing.assert_allclose(group @ group.T, np.eye(len(group)), atol=1e-6)
    assert np.array_equal(rows, orthogonal_rows.__wrapped__(features, width, 3, gaussian=False))
    assert not np.array_equal(rows, orthogonal_rows(features, width, 4, gaussian=False))


def test_gaussian_rows_are_as_long_as_gaussian_vectors_on_average():
    squared = np.concatenate([(orthogonal_rows(16, 16, seed) ** 2).sum(1) for seed in range(200)])
    spread = (2 * 16 / len(squared)) ** 0.5  # of the mean of chi-squared variables with 16 degrees of freedom
    assert abs(squared.mean() - 16) < 3 * spread
    assert abs(squared.var() - 32) < 0.1 * 32


def estimates(gaussian: bool, scale: float = 1.0) -> tuple[torch.Tensor, float]:
    draw = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 64, generator=draw, dtype=torch.float64) * 0.15
    found = []
    for seed in range(400):
        rows = torch.tensor(orthogonal_rows(32, 64, seed, gaussian=gaussian)).double() * scale
        found.append((log_features(q, rows) + log_features(k, rows)).exp().sum())
    return torch.stack(found), (q @ k).exp().item()


def test_gaussian_rows_estimate_the_exponential_without_bias():
    found, true = estimates(gaussian=True)
    assert abs(found.mean().item() - true) < 3 * found.std().item() / len(found) ** 0.5


def test_rows_of_length_sqrt_of_their_number_are_biased_as_is_known_of_the_released_ones():
    found, true = estimates(gaussian=False, scale=32**0.5)
    assert true - found.mean().item() > 10 * found.std().item() / len(found) ** 0.5
