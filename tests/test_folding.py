"""Folding: a norm in front of or behind a map goes into it, and stays where no map takes it."""

from typing import Any

import pytest
import torch
import torch.nn as nn

from unimodal.ffns.activated import Activated
from unimodal.ffns.linear import Linear
from unimodal.folding import folded_row, preceded, scaled
from unimodal.mixers.depthwise import Depthwise
from unimodal.norms.batch import BatchNorm
from unimodal.norms.layer import LayerNorm

FACTOR, SHIFT = torch.tensor([0.5, -2.0, 3.0]).double(), torch.tensor([1.0, 0.25, -4.0]).double()


@pytest.mark.parametrize("bias", [True, False])
def test_scaled_and_preceded_are_the_map_behind_and_in_front(bias):
    layer, x = nn.Linear(3, 3, bias=bias).double(), torch.randn(4, 3).double()
    torch.testing.assert_close(scaled(layer, FACTOR, SHIFT)(x), FACTOR * layer(x) + SHIFT, rtol=0, atol=1e-14)
    torch.testing.assert_close(preceded(layer, FACTOR, SHIFT)(x), layer(FACTOR * x + SHIFT), rtol=0, atol=1e-14)


@pytest.mark.parametrize("groups", [1, 3])
def test_a_convolution_is_scaled_whatever_its_kernel(groups):
    layer, x = nn.Conv2d(3, 3, 3, 2, 1, groups=groups).double(), torch.randn(2, 3, 6, 7).double()
    factor, shift = FACTOR[:, None, None], SHIFT[:, None, None]
    torch.testing.assert_close(scaled(layer, FACTOR, SHIFT)(x), factor * layer(x) + shift, rtol=0, atol=1e-14)


def test_a_convolution_of_one_cell_takes_in_a_norm_in_front():
    layer, x = nn.Conv2d(3, 5, 1).double(), torch.randn(2, 3, 6, 7).double()
    made = preceded(layer, FACTOR, SHIFT)
    torch.testing.assert_close(made(x), layer(FACTOR[:, None, None] * x + SHIFT[:, None, None]), rtol=0, atol=1e-14)


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(4, 4, 1, groups=2)])
def test_a_norm_does_not_go_into_a_kernel_with_padding_or_groups_behind_it(layer):
    with pytest.raises(ValueError, match="a map of one cell and one group"):
        preceded(layer, FACTOR, SHIFT)


def norm(cls: Any = BatchNorm) -> Any:
    made = cls(3).double().eval()
    for name, tensor in made.state_dict().items():
        torch.nn.init.uniform_(tensor, 0.3, 2.0) if name.endswith("var") else torch.nn.init.normal_(tensor)
    return made


def kinds(row: list[Any]) -> list[type]:
    return [type(part) for part in row]


def test_a_norm_goes_into_the_map_in_front_first():
    row = folded_row([Linear(3), norm(), Linear(3)])
    assert kinds(row) == [Linear, Linear]


def test_a_norm_with_no_map_in_front_goes_into_the_one_behind():
    first, last = norm(), Linear(3).double()
    row, x = folded_row([first, last]), torch.randn(2, 5, 3).double()
    assert kinds(row) == [Linear]
    torch.testing.assert_close(row[0](x), last(first(x)), rtol=0, atol=1e-14)


def test_what_neither_side_takes_stays():
    parts = [norm(), Depthwise(3), Activated(3), norm(), Activated(3), norm(LayerNorm)]
    row = folded_row(parts)
    assert all(a is b for a, b in zip(row, parts, strict=True))
