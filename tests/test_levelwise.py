"""Levelwise: every level as if it were alone, shared and own weights, and refusals."""

from typing import Any

import pytest
import torch

from unimodal.chain import Chain
from unimodal.ffns.linear import Linear
from unimodal.levelwise import Levelwise
from unimodal.mixers.depthwise import Depthwise
from unimodal.part import Part
from unimodal.side import Side

LEVELS = ((4, 6), (2, 3))


@pytest.mark.parametrize("count", [1, 2])
def test_each_level_is_convolved_as_if_it_were_alone(count):
    part: Any = Levelwise(5, parts=(Part(Depthwise),) * count)
    x = torch.randn(2, 30, 5)
    made = part(x, Side(levels=LEVELS)).split([24, 6], 1)
    for i, (own, level) in enumerate(zip(x.split([24, 6], 1), LEVELS, strict=True)):
        assert torch.equal(made[i], part.parts[i % count](own, Side(grid=level)))
    assert len(part.parts) == count


def test_a_lattice_is_one_level_with_its_prefix():
    part, x = Levelwise(5, parts=(Part(Depthwise),)), torch.randn(2, 8, 5)
    side = Side(grid=(2, 3), prefix=2)
    assert torch.equal(part(x, side), part.parts[0](x, side))


def test_a_change_of_one_level_moves_no_other():
    part, x = Levelwise(5, parts=(Part(Depthwise),)), torch.randn(1, 30, 5)
    other = x.clone()
    other[:, :24] += 1.0
    before, after = (part(t, Side(levels=LEVELS)) for t in (x, other))
    assert torch.equal(before[:, 24:], after[:, 24:])
    assert not torch.equal(before, after)


def test_it_says_how_wide_the_tokens_become():
    part = Part(Levelwise, parts=(Part(Chain, parts=(Part(Linear, width=7), Part(Depthwise))),))
    assert part(5).width == 7
    assert Part.from_json(part.to_json()) == part


@pytest.mark.parametrize(
    "side, said",
    [
        (Side(levels=LEVELS, prefix=1), "1 prefix tokens belong to no level"),
        (Side(levels=LEVELS, causal=True), "causal"),
    ],
)
def test_prefix_tokens_and_constraints_are_refused(side, said):
    with pytest.raises(ValueError, match=said):
        Levelwise(5, parts=(Part(Depthwise),))(torch.randn(1, 31, 5), side)


def test_no_parts_are_refused():
    with pytest.raises(ValueError, match="at least one part"):
        Levelwise(5, parts=())
