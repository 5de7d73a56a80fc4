"""The convolution on a lattice: loops, groups as a block-diagonal kernel, norms behind it, prefix tokens."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from unimodal.mixers.convolution import Convolution
from unimodal.mixers.depthwise import Depthwise
from unimodal.side import Side

GRID = Side(grid=(3, 4))


def built(dim: int = 8, **options: Any) -> Any:
    mixer: Any = Convolution(dim, **options).double()
    for parameter in mixer.parameters():
        torch.nn.init.normal_(parameter)
    return mixer


def test_it_is_the_sum_over_a_box_of_the_cells_of_ones_own_group():
    mixer, x = built(4, groups=2, width=6), torch.randn(1, 12, 4, dtype=torch.float64)
    expected = mixer.bias.detach().repeat(12, 1)
    for row in range(3):
        for column in range(4):
            for i in range(3):
                for j in range(3):
                    y, z = row + i - 1, column + j - 1
                    if 0 <= y < 3 and 0 <= z < 4:
                        for e in range(6):
                            seen = x[0, 4 * y + z, 2 * (e // 3) : 2 * (e // 3) + 2]
                            expected[4 * row + column, e] += mixer.weight[e, :, i, j] @ seen
    torch.testing.assert_close(mixer(x, GRID)[0], expected)


def test_groups_are_a_dense_kernel_that_is_zero_off_its_blocks():
    mixer, dense = built(groups=4), built()
    with torch.no_grad():
        dense.bias.copy_(mixer.bias)
        dense.weight.copy_(torch.block_diag(*torch.ones(4, 2, 2))[:, :, None, None])
        dense.weight.mul_(mixer.weight.repeat(1, 4, 1, 1))
    x = torch.randn(2, 12, 8, dtype=torch.float64)
    torch.testing.assert_close(mixer(x, GRID), dense(x, GRID))


def test_with_a_channel_a_group_it_is_depthwise():
    mixer, other, x = built(groups=8), Depthwise(8, kernel=3).double(), torch.randn(2, 12, 8, dtype=torch.float64)
    other.load_state_dict(mixer.state_dict())
    torch.testing.assert_close(mixer(x, GRID), other(x, GRID))


def test_with_one_cell_it_is_a_linear_map():
    mixer, x = built(kernel=1, width=5), torch.randn(2, 12, 8, dtype=torch.float64)
    torch.testing.assert_close(mixer(x, GRID), F.linear(x, mixer.weight[..., 0, 0], mixer.bias))


@pytest.mark.parametrize("bias", [False, True])
def test_a_factor_and_a_shift_behind_it_go_in_with_prefix_tokens_too(bias):
    mixer, x = built(groups=2, bias=bias), torch.randn(2, 14, 8, dtype=torch.float64)
    factor, shift = torch.randn(2, 8, dtype=torch.float64)
    side = Side(grid=(3, 4), prefix=2)
    torch.testing.assert_close(mixer.scaled(factor, shift)(x, side), factor * mixer(x, side) + shift)


@pytest.mark.parametrize(
    "options, cause",
    [
        ({"kernel": 2}, "kernel must be odd and positive to have a middle, not 2"),
        ({"groups": 3}, "groups must divide the widths 8 and 8, not 3"),
        ({"groups": 4, "width": 6}, "groups must divide the widths 8 and 6, not 4"),
    ],
)
def test_what_does_not_fit_is_refused(options, cause):
    with pytest.raises(ValueError, match=cause):
        Convolution(8, **options)


def test_other_lattices_and_masks_are_refused():
    with pytest.raises(ValueError, match="a lattice of two axes is needed"):
        Convolution(8)(torch.zeros(1, 8, 8), Side(grid=(2, 2, 2)))
    with pytest.raises(ValueError, match="side.grid .*is needed"):
        Convolution(8)(torch.zeros(1, 8, 8))
    with pytest.raises(ValueError, match="mask"):
        Convolution(8)(torch.zeros(1, 8, 8), Side(grid=(2, 4), mask=torch.ones(1, 1, 8, 8, dtype=torch.bool)))


def test_the_weight_lies_in_memory_as_the_tokens_do():
    mixer = Convolution(6, width=4)
    assert mixer.weight.is_contiguous(memory_format=torch.channels_last)
    assert mixer.scaled(torch.ones(4), torch.zeros(4)).weight.is_contiguous(memory_format=torch.channels_last)
