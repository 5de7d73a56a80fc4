"""Lattices of cells become tokens, uniform or packed, and a projection can be undone where it is invertible."""

import pytest
import torch

from unimodal.cells import projected_from, tokens_of_cells


def test_cells_become_tokens_in_c_order():
    data = torch.randn(2, 3, 4, 5)
    tokens = tokens_of_cells(data, lambda x: x, modality="m")
    assert (tokens.side.grid, tokens.side.modality) == ((4, 5), "m")
    for b, y, x in ((0, 0, 0), (1, 2, 3), (1, 3, 4)):
        assert torch.equal(tokens.x[b, 5 * y + x], data[b, :, y, x])


def test_inputs_of_different_sizes_are_packed_in_their_own_order():
    data = [torch.randn(3, n) for n in (4, 2, 4)]
    tokens = tokens_of_cells(data, lambda x: 2 * x, modality="m")
    assert tokens.side.grids == ((4,), (2,), (4,))
    for row, item in zip(tokens.split(), data, strict=True):
        assert torch.equal(row, 2 * item.mT)


def test_an_invertible_projection_gives_its_values_back():
    weight, bias, values = torch.randn(9, 2, 3), torch.randn(9), torch.randn(4, 6)
    back = projected_from(values @ weight.flatten(1).mT + bias, weight, bias)
    torch.testing.assert_close(back.float(), values, rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match="6 values became 5 numbers of rank 5"):
        projected_from(torch.randn(4, 5), torch.randn(5, 2, 3), None)
