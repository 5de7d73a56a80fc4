"""A readout behind further parts: the same in two steps, widths, refusals."""

from typing import Any

import pytest
import torch

from unimodal.ffns.linear import Linear
from unimodal.norms.batch import BatchNorm
from unimodal.part import Part
from unimodal.readouts.behind import Behind
from unimodal.readouts.head import Head
from unimodal.readouts.mean import Mean
from unimodal.side import Side
from unimodal.tokens import Tokens


def test_it_is_the_readout_of_what_the_parts_make():
    parts, readout = (Part(Linear, width=6), Part(BatchNorm)), Part(Head, pool=Part(Mean), width=3)
    behind: Any = Behind(4, parts=parts, readout=readout).eval()
    tokens = Tokens(torch.randn(2, 5, 4), Side(prefix=1))
    expected = behind.readout(tokens.replace(behind.chain(tokens.x, tokens.side)))
    assert torch.equal(behind(tokens), expected)
    assert expected.shape == (2, 3)


def test_padding_does_not_count():
    behind: Any = Behind(4, parts=(Part(BatchNorm),), readout=Part(Mean)).eval()
    x = torch.randn(1, 5, 4)
    padded = Tokens(x, Side(lengths=torch.tensor([3])))
    torch.testing.assert_close(behind(padded), behind(Tokens(x[:, :3])))


def test_no_parts_are_refused():
    with pytest.raises(ValueError, match="at least one part"):
        Behind(4, parts=(), readout=Part(Mean))
