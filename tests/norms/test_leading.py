"""Another norm on the first channels."""

import pytest
import torch

from unimodal.norms.leading import LeadingNorm
from unimodal.norms.rms import RMSNorm
from unimodal.part import Part


def test_the_first_channels_are_normed_and_the_others_kept():
    x = torch.randn(2, 3, 7)
    norm = LeadingNorm(7, width=4, norm=Part(RMSNorm))
    y = norm(x)
    assert torch.equal(y[..., 4:], x[..., 4:])
    assert torch.equal(y[..., :4], norm.norm(x[..., :4].contiguous()))


def test_what_follows_has_no_influence():
    x = torch.randn(2, 3, 7)
    changed = x.clone()
    changed[..., 4:] = 9.0
    norm = LeadingNorm(7, width=4)
    assert torch.equal(norm(x)[..., :4], norm(changed)[..., :4])


@pytest.mark.parametrize("width", [0, 8])
def test_a_width_outside_the_channels_is_refused(width):
    with pytest.raises(ValueError, match=rf"width must be in 1\.\.7, not {width}"):
        LeadingNorm(7, width=width)
