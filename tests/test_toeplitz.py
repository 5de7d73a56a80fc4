"""Toeplitz tables: which number belongs to which offset, and where gradients go."""

import pytest
import torch

from unimodal.toeplitz import diagonals


@pytest.mark.parametrize("length", [1, 3, 8])
@pytest.mark.parametrize("tokens", [0, 1, 3, 6])
def test_each_offset_gets_its_number_and_far_ones_the_outermost(length, tokens):
    table = torch.randn(2, 2 * length - 1, requires_grad=True)
    strip = diagonals(table, tokens)
    assert strip.shape == (2, max(2 * tokens - 1, 1))
    tokens = max(tokens, 1)
    count = torch.zeros(2 * length - 1)
    for i, offset in enumerate(range(1 - tokens, tokens)):
        at = min(max(offset, 1 - length), length - 1) + length - 1
        count[at] += 1
        assert torch.equal(strip[:, i], table[:, at])
    strip.sum().backward()
    assert table.grad is not None
    assert torch.equal(table.grad, count.expand(2, -1))
