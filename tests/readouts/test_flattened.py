"""The readout ``flattened`` against its equation, and its limits."""

import pytest
import torch

from unimodal.readouts.flattened import Flattened
from unimodal.side import Side
from unimodal.tokens import Tokens


def test_it_equals_the_equation():
    readout, x = Flattened(4, grid=(3,), width=5).double(), torch.randn(2, 2 + 3, 4, dtype=torch.float64)
    z = readout(Tokens(x, Side(grid=(3,), prefix=2)))
    for s in range(2):
        total = readout.project.bias.clone()
        for n in range(3):
            for d in range(4):
                total += readout.project.weight[:, 4 * n + d] * x[s, 2 + n, d]
        torch.testing.assert_close(z[s], total)


def test_without_a_width_it_keeps_the_models():
    assert Flattened(4, grid=(2, 3))(Tokens(torch.randn(1, 6, 4), Side(grid=(2, 3)))).shape == (1, 4)


def test_other_numbers_of_tokens_are_brought_to_the_lattice():
    readout = Flattened(4, grid=(6,), width=2)
    slope = torch.arange(12.0)[None, :, None].expand(1, 12, 4)
    # Cell centres of 6 cells over 12 tokens lie halfway between two tokens: 0.5, 2.5, 4.5 ...
    expected = readout(Tokens(torch.arange(0.5, 12, 2)[None, :, None].expand(1, 6, 4), Side(grid=(6,))))
    torch.testing.assert_close(readout(Tokens(slope, Side(grid=(12,)))), expected)


def test_a_mask_is_refused():
    mask = torch.ones(1, 1, 3, 3, dtype=torch.bool)
    with pytest.raises(ValueError, match="'mask'"):
        Flattened(4, grid=(3,))(Tokens(torch.randn(1, 3, 4), Side(grid=(3,), mask=mask)))
