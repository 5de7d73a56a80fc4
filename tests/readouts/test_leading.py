"""Another readout of the first channels."""

import pytest
import torch

from unimodal.part import Part
from unimodal.readouts.class_token import ClassToken
from unimodal.readouts.head import Head
from unimodal.readouts.leading import LeadingReadout
from unimodal.side import Side
from unimodal.tokens import Tokens


def test_it_is_the_readout_of_the_first_channels():
    tokens = Tokens(torch.randn(2, 6, 7), Side(prefix=1))
    readout = LeadingReadout(7, width=4, readout=Part(Head, pool=Part(ClassToken), width=3))
    assert torch.equal(readout(tokens), readout.readout.project(tokens.x[:, 0, :4]))


@pytest.mark.parametrize("width", [0, 8])
def test_a_width_outside_the_channels_is_refused(width):
    with pytest.raises(ValueError, match=rf"width must be in 1\.\.7, not {width}"):
        LeadingReadout(7, width=width)
