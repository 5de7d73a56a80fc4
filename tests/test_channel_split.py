"""The channel split: each part reads its own channels alone, refusals."""

from typing import Any

import pytest
import torch

from unimodal.channel_split import ChannelSplit
from unimodal.ffns.linear import Linear
from unimodal.ffns.plain import Plain
from unimodal.mixers.depthwise import Depthwise
from unimodal.part import Part
from unimodal.side import Side


def test_each_part_reads_its_own_channels():
    split: Any = ChannelSplit(6, parts=(Part(Linear, width=3), Part(Plain)), widths=(2, 4))
    x = torch.randn(2, 5, 6)
    assert split.width == 7
    assert torch.equal(split(x), torch.cat([split.parts[0](x[..., :2]), split.parts[1](x[..., 2:])], -1))
    other = x.clone()
    other[..., 2:] += 1.0
    assert torch.equal(split(other)[..., :3], split(x)[..., :3])


def test_without_widths_they_are_equal():
    assert ChannelSplit(6, parts=(Part(Plain), Part(Plain))).widths == (3, 3)


def test_a_cell_two_away_moves_the_channels_with_the_larger_kernel_only():
    split: Any = ChannelSplit(4, parts=(Part(Depthwise, kernel=3), Part(Depthwise, kernel=5)))
    for parameter in split.parameters():
        torch.nn.init.normal_(parameter)
    x = torch.randn(1, 25, 4)
    other = x.clone()
    other[:, 0] += 1.0
    before, after = (split(t, Side(grid=(5, 5))).unflatten(1, (5, 5))[0, 2, 2] for t in (x, other))
    assert torch.equal(before[:2], after[:2])
    assert not torch.isclose(before[2:], after[2:]).any()


def test_it_round_trips():
    part = Part(ChannelSplit, parts=(Part(Plain), Part(Plain)), widths=(2, 4))
    assert Part.from_json(part.to_json()) == part


@pytest.mark.parametrize("parts, widths", [(2, None), (2, (5,)), (2, (2, 2)), (2, (0, 5))])
def test_what_does_not_fit_is_refused(parts, widths):
    with pytest.raises(ValueError, match="widths must be 2 positive ones, 5 in all"):
        ChannelSplit(5, parts=(Part(Plain),) * parts, widths=widths)
    with pytest.raises(ValueError, match="a split has at least one part"):
        ChannelSplit(5, parts=())
