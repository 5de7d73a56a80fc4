"""The sizes of a step: the released modes, the errors, and that a step costs what its sizes cost."""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from unimodal.objectives.scale_consistency import ScaleConsistency
from unimodal.part import Part
from unimodal.readouts.class_token import ClassToken
from unimodal.readouts.head import Head
from unimodal.recipes.resformer import resformer
from unimodal.sample import Batch
from unimodal.size_window import size_window

SIZES = (224, 160, 128, 96)


@pytest.mark.parametrize("count", [1, 2, 3, 4, None])
def test_the_window_is_that_of_the_released_loop(count: int | None):
    for step in range(9):
        m = count or len(SIZES)
        start = step % (len(SIZES) - m + 1)
        wanted = [SIZES[index] for index in range(start, start + m)]
        assert list(size_window(SIZES, step, count=count)) == wanted


def test_all_sizes_are_in_every_step_where_none_are_left_out():
    assert {size_window(SIZES, step) for step in range(10)} == {SIZES}


def test_a_window_of_one_shows_each_size_in_its_turn():
    assert [size_window((24, 16), step, count=1) for step in range(4)] == [(24,), (16,), (24,), (16,)]


def test_sizes_in_the_middle_come_up_more_often_than_those_at_the_ends():
    shown = [size for step in range(6) for size in size_window((32, 24, 16), step, count=2)]
    assert {size: shown.count(size) for size in (32, 24, 16)} == {32: 3, 24: 6, 16: 3}


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_step_costs_the_sum_of_what_its_sizes_cost_alone(count: int):
    head = Part(Head, pool=Part(ClassToken), width=10)
    model, labels = resformer("tiny", patch=4, image=16, depth=1, readout=head)(), torch.tensor([3, 1])

    def flops(sizes: tuple[int, ...]) -> int:
        batches = [Batch("image", torch.randn(2, 3, n, n)) for n in sizes]
        counter: Any = FlopCounterMode(display=False)
        with counter:
            ScaleConsistency()(model, batches, labels).backward()
        return counter.get_total_flops()

    sizes = size_window((24, 16, 8), 0, count=count)
    assert flops(sizes) == sum(flops((size,)) for size in sizes) > 0


def test_wrong_sizes_counts_and_steps_raise():
    with pytest.raises(ValueError, match="at least one size"):
        size_window((), 0)
    with pytest.raises(ValueError, match=r"must fall from the largest to the smallest, not \(16, 24\)"):
        size_window((16, 24), 0)
    with pytest.raises(ValueError, match="count must be from 1 to 4"):
        size_window(SIZES, 0, count=5)
    with pytest.raises(ValueError, match="step must not be negative, not -1"):
        size_window(SIZES, -1)
