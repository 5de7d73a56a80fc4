"""Another position part on the first channels."""

import pytest
import torch

from unimodal.part import Part
from unimodal.positions.leading import LeadingPosition
from unimodal.positions.learned import Learned
from unimodal.positions.rotary import Rotary
from unimodal.side import Side


def test_the_first_channels_get_positions_and_the_others_are_kept():
    x = torch.randn(2, 6, 7)
    part = LeadingPosition(7, width=4, position=Part(Learned, grid=(2, 3)))
    y = part(x, Side(grid=(2, 3)))
    assert torch.equal(y[..., 4:], x[..., 4:])
    assert torch.equal(y[..., :4], x[..., :4] + part.position.table)


@pytest.mark.parametrize("width", [0, 8])
def test_a_width_outside_the_channels_is_refused(width):
    with pytest.raises(ValueError, match=rf"width must be in 1\.\.7, not {width}"):
        LeadingPosition(7, width=width)


def test_positions_of_heads_are_refused():
    with pytest.raises(ValueError, match="position Rotary acts on heads, not on tokens"):
        LeadingPosition(8, position=Part(Rotary))
