"""Waves of shares of the lattice, convolved: loops, sizes, smoothness."""

import math

import pytest
import torch
import torch.nn.functional as F

from unimodal.positions.convolved_waves import ConvolvedWaves
from unimodal.positions.learned import Learned
from unimodal.side import Side


def wave(place: float, half: int, base: float = 10_000.0) -> list[float]:
    found = []
    for i in range(half // 2):
        angle = place / base ** (2 * i / half)
        found += [math.sin(angle), math.cos(angle)]
    return found


@pytest.mark.parametrize("grid", [(1, 1), (3, 5), (4, 2)])
def test_it_adds_the_convolution_of_the_waves_in_loops(grid: tuple[int, int]):
    (rows, columns), dim = grid, 8
    part = ConvolvedWaves(dim).double()
    weight, bias = part.around.weight.detach(), part.around.bias.detach()  # pyright: ignore[reportOptionalMemberAccess]
    waves = torch.zeros(rows, columns, dim, dtype=torch.float64)
    for y in range(rows):
        for x in range(columns):
            places = (2 * math.pi * (y + 1) / rows, 2 * math.pi * (x + 1) / columns)
            waves[y, x] = torch.tensor(wave(places[0], dim // 2) + wave(places[1], dim // 2), dtype=torch.float64)
    tokens = torch.randn(2, 1 + rows * columns, dim, dtype=torch.float64)
    added = part(tokens, Side(grid=grid, prefix=1)) - tokens
    assert not added[:, 0].any()
    for y in range(rows):
        for x in range(columns):
            wanted = bias.clone()
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    if 0 <= y + dy < rows and 0 <= x + dx < columns:
                        wanted += weight[:, 0, dy + 1, dx + 1] * waves[y + dy, x + dx]
            torch.testing.assert_close(added[0, 1 + y * columns + x], wanted, rtol=0, atol=1e-6)  # waves in float32


def test_it_changes_less_with_the_lattices_size_than_a_table_of_that_many_numbers_does():
    """The card's smoothness: at twice the size it is near what resizing it would give, and nearer for larger ones."""
    part, gaps = ConvolvedWaves(32), []
    with torch.no_grad():
        part.around.weight.zero_()[:, 0, 1, 1] = 1.0  # the waves themselves, without the edges' zeros
        for n in (7, 14, 28):
            small, large = (
                part(torch.zeros(1, m * m, 32), Side(grid=(m, m)))[0].mT.unflatten(-1, (m, m)) for m in (n, 2 * n)
            )
            resized = F.interpolate(small[None], size=(2 * n, 2 * n), mode="bilinear")[0]
            gaps.append(float((resized - large).norm() / large.norm()))
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 0.1 < 0.9 < float(torch.tensor(2.0).sqrt())  # a random table: sqrt(2), nothing in common


def test_resized_it_is_nearer_what_it_is_at_that_size_than_a_learned_table_is():
    """As both begin: the filter with the lattice's edges, and a table that is resampled to half its size and back."""
    gaps = {"waves": [], "table": []}
    part = ConvolvedWaves(32)
    with torch.no_grad():
        for n in (8, 16, 24):
            table = Learned(32, grid=(2 * n, 2 * n))
            maps = {
                "waves": [part(torch.zeros(1, m * m, 32), Side(grid=(m, m)))[0] for m in (n, 2 * n)],
                "table": [table.on((m, m)) for m in (n, 2 * n)],
            }
            for name, (small, large) in maps.items():
                square = small.mT.unflatten(-1, (n, n))[None]
                resized = F.interpolate(square, size=(2 * n, 2 * n), mode="bilinear")[0].flatten(1).mT
                gaps[name].append(float((resized - large).norm() / large.norm()))
    assert gaps["waves"] == sorted(gaps["waves"], reverse=True)
    assert all(waves < table / 2 for waves, table in zip(gaps["waves"], gaps["table"], strict=True))
    assert gaps["waves"][-1] < 0.2 < 0.8 < min(gaps["table"])


def test_the_parameters_are_ten_a_channel():
    assert sum(p.numel() for p in ConvolvedWaves(192).parameters()) == 1920


def test_wrong_sizes_and_lattices_raise():
    with pytest.raises(ValueError, match="dim must be a multiple of 4"):
        ConvolvedWaves(6)
    with pytest.raises(ValueError, match="kernel must be odd"):
        ConvolvedWaves(8, kernel=2)
    with pytest.raises(ValueError, match="a lattice of two axes"):
        ConvolvedWaves(8)(torch.zeros(1, 6, 8), Side(grid=(6,)))
    with pytest.raises(ValueError, match="side.grid"):
        ConvolvedWaves(8)(torch.zeros(1, 6, 8), Side())
