"""Appended: what is read stands in front of what was made of it."""

from typing import Any

import torch

from unimodal.appended import Appended
from unimodal.ffns.linear import Linear
from unimodal.ffns.plain import Plain
from unimodal.part import Part


def test_the_tokens_are_followed_by_what_the_part_makes_of_them():
    made: Any = Appended(4, part=Part(Linear, width=3))
    x = torch.randn(2, 5, 4)
    assert made.width == 7
    assert torch.equal(made(x)[..., :4], x)
    assert torch.equal(made(x)[..., 4:], made.part(x))


def test_a_part_that_keeps_the_width_doubles_it():
    assert Appended(4, part=Part(Plain)).width == 8


def test_it_round_trips():
    part = Part(Appended, part=Part(Linear, width=3))
    assert Part.from_json(part.to_json()) == part
