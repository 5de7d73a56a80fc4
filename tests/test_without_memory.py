"""Without memory: what a decoder's tokens say to one another does not depend on what they read."""

import torch

from unimodal.mixers.full import Full
from unimodal.part import Part
from unimodal.side import Side
from unimodal.tokens import Tokens
from unimodal.without_memory import WithoutMemory

PART = Part(WithoutMemory, part=Part(Full, heads=2))


def test_memory_and_the_mask_over_it_have_no_influence():
    alone, x = PART(6), torch.randn(2, 5, 6)
    mask = torch.rand(2, 1, 5, 3) > 0.5
    assert torch.equal(alone(x, Side(memory=Tokens(torch.randn(2, 3, 6)), mask=mask)), alone(x))


def test_a_mask_over_the_tokens_themselves_stays():
    alone, x = PART(6), torch.randn(2, 5, 6)
    mask = torch.ones(5, 5, dtype=torch.bool).tril()[None, None]
    assert torch.equal(alone(x, Side(mask=mask)), alone.part(x, Side(mask=mask)))


def test_it_comes_back_from_json():
    assert Part.from_json(PART.to_json()) == PART
