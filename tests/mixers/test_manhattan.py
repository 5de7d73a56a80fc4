"""The mixer ``manhattan`` against the released code's steps in loops, its limits, and lattices of any size."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from unimodal.attention.manhattan import ManhattanAttention
from unimodal.manhattan_decay import decay_rates
from unimodal.mixers.manhattan import Manhattan
from unimodal.part import Part
from unimodal.part_checks import part_checks
from unimodal.side import Side

FORMS = [Part(ManhattanAttention, decay=d, decomposed=c) for d in ("bias", "multiply") for c in (False, True)]


def turned(x, place, width):
    """Pair j of a head's channels, j and j + K / 2, turned by place 10000^(-j / (K / 2 - 1))."""
    half, out = width // 2, torch.empty_like(x)
    for j in range(half):
        angle = place * 10_000.0 ** -(j / (half - 1))
        a, b = x[j], x[j + half]
        out[j] = a * math.cos(angle) - b * math.sin(angle)
        out[j + half] = a * math.sin(angle) + b * math.cos(angle)
    return out


def released(mixer, x, grid, decomposed):
    """softmax(turned q . turned k / sqrt(K) + D) v, the depth-wise 5 x 5 of v added, and the map out of it."""
    rows, columns = grid
    dim, heads = x.shape[-1], mixer.heads
    width, cells = dim // heads, rows * columns
    q, k, v = (mixer.to_qkv.weight @ x[n] + mixer.to_qkv.bias for n in range(cells)), [], []
    q = list(q)
    q, k, v = ([t[i * dim : (i + 1) * dim] for t in q] for i in range(3))
    out = [torch.zeros(dim, dtype=x.dtype) for _ in range(cells)]
    for h in range(heads):
        part, rate = slice(h * width, (h + 1) * width), decay_rates(heads, 2.0, 4.0)[h]
        qs, ks = ([turned(t[n][part], n, width) for n in range(cells)] for t in (q, k))
        value = [t[part] for t in v]
        if decomposed:
            lines = [
                [[r * columns + c for c in range(columns)] for r in range(rows)],
                [[r * columns + c for r in range(rows)] for c in range(columns)],
            ]
        else:
            lines = [[list(range(cells))]]
        for some in lines:
            made = list(value)
            for line in some:
                for n in line:
                    apart = [abs(n // columns - m // columns) + abs(n % columns - m % columns) for m in line]
                    logits = [qs[n] @ ks[m] / width**0.5 + rate * d for m, d in zip(line, apart, strict=True)]
                    share = torch.stack(logits).softmax(0)
                    made[n] = sum((s * value[m] for s, m in zip(share, line, strict=True)), torch.zeros(width))
            value = made
        for n in range(cells):
            out[n][part] = value[n]
    map_DYX = torch.stack(v).T.reshape(1, dim, rows, columns)
    around = F.conv2d(map_DYX, mixer.around.weight, mixer.around.bias, padding=2, groups=dim)[0].flatten(1).T
    return torch.stack(out) @ mixer.to_out.weight.T + around @ mixer.to_out.weight.T + mixer.to_out.bias


@pytest.mark.parametrize("decomposed", [False, True])
def test_it_equals_the_released_steps(decomposed):
    mixer = Manhattan(12, heads=2, attention=Part(ManhattanAttention, decomposed=decomposed)).double()
    x = torch.randn(2, 12, 12, dtype=torch.float64)
    with torch.no_grad():
        y = mixer(x, Side(grid=(3, 4)))
        for b in range(2):
            want = released(mixer, x[b], (3, 4), decomposed)
            torch.testing.assert_close(y[b], want, rtol=0, atol=1e-6)  # the angles are float32


@pytest.mark.parametrize("attention", FORMS, ids=str)
def test_gradients_of_the_input_are_right_and_every_parameter_gets_one(attention):
    mixer, side = Manhattan(8, heads=2, attention=attention).double(), Side(grid=(2, 2), prefix=1)
    x = torch.randn(1, 5, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: mixer(x, side), (x,))
    mixer(x, side).square().sum().backward()
    assert all(p.grad is not None and bool(p.grad.any()) for p in mixer.parameters())


def test_without_decay_it_is_attention_with_turned_queries_and_keys_and_the_convolution():
    mixer = Manhattan(12, heads=2, attention=Part(ManhattanAttention, initial=math.inf)).double()
    x = torch.randn(2, 12, 12, dtype=torch.float64)
    q, k, v = mixer.to_qkv(x).chunk(3, -1)
    place = torch.arange(12.0).expand(2, 12)[..., None]
    heads = [t.unflatten(-1, (2, 6)).transpose(1, 2) for t in (q, k, v)]
    q, k = (mixer.position(t, Side(positions=place)) for t in heads[:2])
    plain = F.scaled_dot_product_attention(q, k, heads[2]).transpose(1, 2).flatten(2)
    around = mixer.around(v.mT.unflatten(-1, (3, 4))).flatten(2).mT
    torch.testing.assert_close(mixer(x, Side(grid=(3, 4))), mixer.to_out(plain + around), rtol=0, atol=1e-10)


def test_the_turn_tells_how_far_two_cells_are_apart_in_the_flattened_lattice():
    mixer = Manhattan(12, heads=2, attention=Part(ManhattanAttention, initial=math.inf))
    q, k = torch.randn(1, 1, 1, 6), torch.randn(1, 1, 1, 6)

    def product(n: float, m: float) -> float:
        at = [Side(positions=torch.tensor([[[p]]])) for p in (n, m)]
        return float((mixer.position(q, at[0]) * mixer.position(k, at[1])).sum())

    assert product(3.0, 7.0) == pytest.approx(product(20.0, 24.0), abs=1e-4)
    assert product(3.0, 7.0) != pytest.approx(product(3.0, 8.0), abs=1e-4)


@pytest.mark.parametrize("attention", FORMS, ids=str)
def test_pictures_of_any_lattice_need_no_resampling(attention):
    mixer = Manhattan(16, heads=2, attention=attention)
    assert all(p.shape[0] in (16, 48) for p in mixer.parameters())  # nothing has a size of the lattice
    for grid in ((7, 7), (8, 8), (10, 10), (3, 11)):
        x = torch.randn(1, grid[0] * grid[1], 16)
        assert bool(mixer(x, Side(grid=grid)).isfinite().all())


@pytest.mark.parametrize("attention", FORMS, ids=str)
@pytest.mark.parametrize("check", part_checks("mixers", Manhattan))
def test_every_form_keeps_the_contracts_of_mixers(attention, check):
    part_checks("mixers", Manhattan, attention=attention)[check]()


@pytest.mark.parametrize("name", ["mask", "causal", "memory"])
def test_a_constraint_it_cannot_honour_is_refused(name):
    value: Any = {"mask": torch.ones(4, 4, dtype=torch.bool), "causal": True, "memory": torch.zeros(1)}[name]
    with pytest.raises(ValueError, match=f"'{name}' is set and not supported"):
        Manhattan(8, heads=2)(torch.randn(1, 4, 8), Side(grid=(2, 2), **{name: value}))


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="must be an even head width"):
        Manhattan(10, heads=4)
    with pytest.raises(ValueError, match="must be an even head width"):
        Manhattan(6, heads=2)
    with pytest.raises(ValueError, match="kernel must be odd"):
        Manhattan(8, heads=2, kernel=4)


def test_a_lattice_of_other_axes_is_refused():
    mixer, x = Manhattan(8, heads=2), torch.randn(1, 4, 8)
    with pytest.raises(ValueError, match=r"side\.grid .* is needed here"):
        mixer(x)
    with pytest.raises(ValueError, match="two axes is needed here"):
        mixer(x, Side(grid=(4,)))
