"""A convolution whose weight lies channels last: the same values, and cells that are tokens without a copy."""

import pytest
import torch
import torch.nn as nn

from unimodal.channels_last import channels_last


@pytest.mark.parametrize(
    "kind, rows, sizes", [(nn.Conv2d, 1, (9, 8)), (nn.Conv2d, 2, (9, 8)), (nn.Conv3d, 2, (5, 9, 8))]
)
def test_the_cells_of_a_plain_map_become_tokens_without_a_copy(kind, rows, sizes):
    plain, x = kind(3, 16, 2, stride=2), torch.randn(rows, 3, *sizes)
    expected, made = plain(x), channels_last(plain)
    assert made is plain
    cells = made(x)
    torch.testing.assert_close(cells, expected)
    assert cells.flatten(2).mT.is_contiguous()


def test_values_and_names_are_kept():
    plain = nn.Conv2d(4, 6, 3)
    before = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    after = channels_last(plain).state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)
    plain.load_state_dict(before)
    assert plain.weight.is_contiguous(memory_format=torch.channels_last)
