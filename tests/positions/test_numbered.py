"""Fixed waves of a cell's number in reading order."""

import math

import pytest
import torch

from unimodal.positions.numbered import Numbered
from unimodal.side import Side


@pytest.mark.parametrize("dim", [6, 7])
@pytest.mark.parametrize("first", [0, 1])
def test_it_equals_the_equation_and_prefix_tokens_get_nothing(dim, first):
    out = Numbered(dim, grid=(2, 3), first=first)(torch.zeros(1, 8, dim), Side(grid=(2, 3), prefix=2))[0]
    assert not out[:2].any()
    for row in range(2):
        for column in range(3):
            for j in range(dim):
                angle = (3 * row + column + first) / 10_000 ** (2 * (j // 2) / dim)
                expected = math.sin(angle) if j % 2 == 0 else math.cos(angle)
                assert out[2 + 3 * row + column, j].item() == pytest.approx(expected, abs=1e-6)


def test_another_lattice_gets_the_waves_resampled():
    part = Numbered(6, grid=(4, 4))
    wave = part(torch.zeros(1, 16, 6), Side(grid=(4, 4)))[0].T.reshape(1, 6, 4, 4)
    wider = part(torch.zeros(1, 40, 6), Side(grid=(5, 8)))[0]
    expected = torch.nn.functional.interpolate(wave, size=(5, 8), mode="bicubic")[0].flatten(1).T
    torch.testing.assert_close(wider, expected)


def test_it_has_no_state():
    assert not Numbered(6, grid=(4, 4)).state_dict()


def test_a_lattice_of_another_number_of_axes_is_refused():
    with pytest.raises(ValueError, match=r"the numbered lattice is \(4, 4\), that of the tokens \(16,\)"):
        Numbered(6, grid=(4, 4))(torch.zeros(1, 16, 6), Side(grid=(16,)))
