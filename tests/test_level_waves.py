"""Waves of the cells of several lattices: their equation, and what they say of cells of several sizes."""

import math

import pytest
import torch

from unimodal.level_waves import level_waves


def test_each_cell_has_the_waves_of_the_equation():
    levels, cells = ((2, 3), (3, 1)), []
    for rows, columns in levels:
        for y in range(rows):
            for x in range(columns):
                wave = []
                for at in (2 * math.pi * (y + 1) / (rows + 1e-6), 2 * math.pi * (x + 1) / (columns + 1e-6)):
                    for k in range(2):
                        wave += [math.sin(at / 10_000 ** (k / 2)), math.cos(at / 10_000 ** (k / 2))]
                cells.append(wave)
    torch.testing.assert_close(level_waves(levels, 8), torch.tensor(cells), rtol=0, atol=1e-6)


def test_cells_of_any_size_that_end_at_one_place_have_the_same_waves():
    coarse, fine = level_waves(((2, 2),), 8), level_waves(((4, 4),), 8).unflatten(0, (4, 4))[1::2, 1::2]
    torch.testing.assert_close(coarse, fine.flatten(0, 1), rtol=0, atol=1e-5)


def test_widths_without_a_wave_for_each_axis_are_refused():
    with pytest.raises(ValueError, match="multiple of 4 channels, not 6"):
        level_waves(((2, 2),), 6)
