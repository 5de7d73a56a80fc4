"""RMS norm against its equation."""

import pytest
import torch

from unimodal.norms.rms import RMSNorm


@pytest.mark.parametrize("dim", [1, 63, 100, 257])
def test_it_equals_the_equation_with_gradients(dim):
    norm = RMSNorm(dim, eps=1e-3).double()
    torch.nn.init.normal_(norm.weight)
    x = torch.randn(3, dim, dtype=torch.float64, requires_grad=True)
    rows = [row / (sum(row[d] ** 2 for d in range(dim)) / dim + 1e-3) ** 0.5 * norm.weight for row in x]
    expected, got, probe = torch.stack(rows), norm(x), torch.randn(3, dim, dtype=torch.float64)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)
    for a, b in zip(*(torch.autograd.grad((y * probe).sum(), [x, norm.weight]) for y in (got, expected)), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


def test_the_mean_square_of_bfloat16_is_taken_in_float32():
    x = torch.randn(4, 257).bfloat16()
    exact = RMSNorm(257).double()(x.double())
    got = RMSNorm(257).bfloat16()(x).double()
    assert (got - exact).abs().max() <= 2**-8 * exact.abs().max()


def test_a_zero_token_stays_zero_and_a_scaled_one_is_unchanged():
    x = torch.randn(2, 63)
    assert not RMSNorm(63)(torch.zeros(2, 63)).any()
    torch.testing.assert_close(RMSNorm(63)(1e3 * x), RMSNorm(63, eps=0.0)(x))
