"""The stem ``time_convolution`` against its equation in loops, and as one-dimensional convolutions."""

import math
from typing import Any

import torch
import torch.nn.functional as F

from unimodal.stems.time_convolution import TimeConvolutionStem


def gelu(x: float) -> float:
    return 0.5 * x * (1 + math.erf(x / math.sqrt(2)))


def test_each_cell_is_the_equations():
    stem: Any = TimeConvolutionStem(3, bands=4, channels=2).double()
    picture = torch.randn(1, 2, 9, 5, dtype=torch.float64)
    cells = stem(picture)
    assert cells.shape == (1, 3, 2, 3)
    for row in range(2):
        hidden = [[0.0] * 7 for _ in range(3)]  # a column of zeros at both sides
        for x in range(5):
            for d in range(3):
                total = stem.spread.bias[d].item()
                for k in range(3):
                    if 0 <= x + k - 1 < 5:
                        part = picture[0, :, 4 * row : 4 * row + 4, x + k - 1]
                        total += (stem.spread.weight[d, :, :, k] * part).sum().item()
                hidden[d][x + 1] = gelu(total)
        for x in range(3):
            for d in range(3):
                total = stem.halve.bias[d].item()
                total += sum(
                    stem.halve.weight[d, e, 0, k].item() * hidden[e][2 * x + k] for e in range(3) for k in range(3)
                )
                torch.testing.assert_close(cells[0, d, row, x].item(), gelu(total))


def test_over_all_bands_it_is_two_one_dimensional_convolutions():
    stem, picture = TimeConvolutionStem(6, bands=8, channels=1), torch.randn(2, 1, 8, 10)
    hidden = F.gelu(F.conv1d(picture[:, 0], stem.spread.weight[:, 0], stem.spread.bias, padding=1))
    expected = F.gelu(F.conv1d(hidden, stem.halve.weight[:, :, 0], stem.halve.bias, stride=2, padding=1))
    torch.testing.assert_close(stem(picture)[:, :, 0], expected)


def test_a_change_reaches_the_cells_around_it_only():
    stem, picture = TimeConvolutionStem(6, bands=8), torch.randn(1, 3, 16, 20)
    changed = picture.clone()
    changed[..., 0:8, 9] += 1.0
    moved = (stem(changed) != stem(picture)).any(1)[0]
    assert moved[0].nonzero().flatten().tolist() == [4, 5]
    assert not moved[1].any()


def test_frames_of_odd_number_are_rounded_up():
    stem = TimeConvolutionStem(4)
    for columns in (1, 2, 7, 8):
        assert stem(torch.zeros(1, 3, 16, columns)).shape[2:] == stem.cells((16, columns)) == (1, (columns + 1) // 2)
