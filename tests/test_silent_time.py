"""Silent time: nothing at first, the attention over time that it is, and a way out of silence."""

import torch

from unimodal.mixers.divided_space_time import DividedSpaceTime
from unimodal.side import Side
from unimodal.silent_time import silent_time

SIDE = Side(grid=(3, 2, 2))


def test_it_says_nothing_before_training():
    assert not silent_time(6, heads=2)(torch.randn(2, 12, 6), SIDE).any()


def test_it_is_divided_attention_over_time_once_it_has_its_weights():
    made, other = silent_time(6, heads=2), DividedSpaceTime(6, heads=2, over="time")
    made.load_state_dict(other.state_dict())
    x = torch.randn(2, 12, 6)
    assert torch.equal(made(x, SIDE), other(x, SIDE))


def test_its_values_have_a_gradient_at_once():
    made = silent_time(6, heads=2, bias=False)
    made(torch.randn(2, 12, 6), SIDE).sum().backward()
    slope = made.full.to_qkv.weight.grad
    assert slope is not None
    assert slope[12:].abs().min() > 0
    assert not slope[:12].any()
