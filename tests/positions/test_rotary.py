"""Rotary positions against their equation, and the property they were made for."""

import math

import pytest
import torch

from unimodal.positions.rotary import Rotary
from unimodal.side import Side


def turned(x, coordinates, base=10_000.0):
    """One head vector, pair by pair."""
    y, share = list(x), len(x) // len(coordinates)
    for p, c in enumerate(coordinates):
        n = share // 2
        for i in range(n):
            t, j = c * base ** (-i / n), p * share + i
            y[j] = x[j] * math.cos(t) - x[j + n] * math.sin(t)
            y[j + n] = x[j] * math.sin(t) + x[j + n] * math.cos(t)
    return torch.stack(y)


@pytest.mark.parametrize("grid", [(1,), (63,), (3, 5), (2, 2, 3)])
def test_every_pair_is_turned_by_its_angle_and_the_prefix_is_not(grid):
    cells = [()]
    for n in grid:
        cells = [(*cell, i) for cell in cells for i in range(n)]
    x = torch.randn(2, 3, 1 + len(cells), 12)
    y = Rotary(12, base=50.0)(x, Side(grid=grid, prefix=1))
    torch.testing.assert_close(y[:, :, 0], x[:, :, 0])
    for n, cell in enumerate(cells):
        torch.testing.assert_close(y[1, 2, 1 + n], turned(x[1, 2, 1 + n], cell, 50.0), rtol=0, atol=3e-5)


def test_products_of_queries_and_keys_depend_on_the_difference_of_their_positions_only():
    q, k = torch.randn(2, 1, 1, 1, 8, dtype=torch.float64)
    place, shift = torch.rand(50, 1, 2) * 9, torch.rand(50, 1, 2) * 9

    def product(of_q, of_k):
        rotary = Rotary(8)
        one, other = (rotary(t.expand(50, 1, 1, 8), Side(positions=at)) for t, at in ((q, of_q), (k, of_k)))
        return (one * other).sum(-1)

    base = product(place, torch.zeros_like(place))
    torch.testing.assert_close(product(place + shift, shift), base, rtol=0, atol=2e-5)  # float32 angles up to 18 rad
    assert (product(place + shift, torch.zeros_like(shift)) - base).abs().max() > 0.1


def test_lengths_are_kept_and_gradients_are_turned_back():
    x = torch.randn(1, 2, 6, 8, dtype=torch.float64, requires_grad=True)
    rotary, side, probe = Rotary(8), Side(grid=(2, 3)), torch.randn(1, 2, 6, 8, dtype=torch.float64)
    y = rotary(x, side)
    torch.testing.assert_close(y.norm(dim=-1), x.norm(dim=-1), rtol=0, atol=1e-6)
    (gradient,) = torch.autograd.grad((y * probe).sum(), x)
    torch.testing.assert_close(rotary(gradient, side), probe, rtol=0, atol=1e-6)


@pytest.mark.parity
def test_it_equals_the_rotation_of_llama():
    llama = pytest.importorskip("transformers.models.llama.modeling_llama")
    x = torch.randn(2, 3, 17, 8)
    angle = torch.arange(17.0)[:, None] * 10_000.0 ** -(torch.arange(4.0) / 4)
    cos, sin = (torch.cat([t, t], -1)[None] for t in (angle.cos(), angle.sin()))
    theirs, _ = llama.apply_rotary_pos_emb(x, x, cos, sin)
    torch.testing.assert_close(Rotary(8)(x, Side(grid=(17,))), theirs, rtol=0, atol=1e-5)


def test_a_head_width_that_the_axes_do_not_divide_raises():
    with pytest.raises(ValueError, match="head width 6 is not a multiple of 2 x 2 coordinate axes"):
        Rotary(6)(torch.zeros(1, 1, 6, 6), Side(grid=(2, 3)))


def test_neither_positions_nor_a_lattice_raises():
    with pytest.raises(ValueError, match=r"side.grid \(or side.grids\) is needed"):
        Rotary(8)(torch.zeros(1, 1, 6, 8))
