"""Compressed RMS norm against its equation and the norms of the whole token."""

import pytest
import torch
import torch.nn.functional as F

from unimodal.norms.crms import CompressedRMSNorm


@pytest.mark.parametrize("dim", [1, 63, 100, 257])
def test_it_equals_the_equation_with_gradients(dim):
    norm = CompressedRMSNorm(dim, eps=1e-3).double()
    torch.nn.init.normal_(norm.weight)
    x = torch.randn(3, dim, dtype=torch.float64, requires_grad=True)
    rows = []
    for row in x:
        square = sum(row[d] ** 2 for d in range(dim)) + sum(row[d] for d in range(dim)) ** 2
        rows.append(row / (square / (dim + 1) + 1e-3) ** 0.5 * norm.weight)
    expected, got, probe = torch.stack(rows), norm(x), torch.randn(3, dim, dtype=torch.float64)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)
    for a, b in zip(*(torch.autograd.grad((y * probe).sum(), [x, norm.weight]) for y in (got, expected)), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


def test_it_is_the_layer_norm_of_the_whole_token_without_its_last_channel():
    x = torch.randn(4, 7, dtype=torch.float64)
    whole = torch.cat([x, -x.sum(-1, keepdim=True)], -1)
    for expected in (F.layer_norm(whole, (8,), eps=1e-6), F.rms_norm(whole, (8,), eps=1e-6)):
        torch.testing.assert_close(CompressedRMSNorm(7).double()(x), expected[:, :-1], rtol=0, atol=1e-12)


def test_statistics_of_bfloat16_are_taken_in_float32():
    x = torch.randn(4, 257).bfloat16()
    exact = CompressedRMSNorm(257).double()(x.double())
    got = CompressedRMSNorm(257).bfloat16()(x).double()
    assert (got - exact).abs().max() <= 2**-8 * exact.abs().max()
