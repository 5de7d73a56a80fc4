"""Layer norm against its equation."""

import pytest
import torch

from unimodal.norms.layer import LayerNorm


@pytest.mark.parametrize("dim", [1, 63, 100, 257])
@pytest.mark.parametrize("bias", [True, False])
def test_it_equals_the_equation_with_gradients(dim, bias):
    norm = LayerNorm(dim, eps=1e-3, bias=bias).double()
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(3, dim, dtype=torch.float64, requires_grad=True)
    rows = []
    for row in x:
        mean = sum(row[d] for d in range(dim)) / dim
        variance = sum((row[d] - mean) ** 2 for d in range(dim)) / dim
        y = (row - mean) / (variance + 1e-3) ** 0.5 * norm.weight
        rows.append(y if norm.bias is None else y + norm.bias)
    expected, got, probe = torch.stack(rows), norm(x), torch.randn(3, dim, dtype=torch.float64)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)
    leaves = [x, *norm.parameters()]
    for a, b in zip(*(torch.autograd.grad((y * probe).sum(), leaves) for y in (got, expected)), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


def test_statistics_of_bfloat16_are_taken_in_float32():
    x = (100.0 + torch.randn(4, 257)).bfloat16()  # in bfloat16 the mean alone would be off by half a unit
    exact = LayerNorm(257).double()(x.double())
    got = LayerNorm(257).bfloat16()(x).double()
    assert (got - exact).abs().max() <= 2**-8 * exact.abs().max()


def test_a_constant_token_maps_to_the_bias():
    norm = LayerNorm(5)
    torch.nn.init.normal_(norm.bias)  # pyright: ignore[reportArgumentType]
    torch.testing.assert_close(norm(torch.full((2, 5), 3.0))[0], norm.bias)
