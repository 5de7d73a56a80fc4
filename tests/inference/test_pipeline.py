"""The pipeline: results in order, batches within their budget, one bad input a bad result, memory bounded."""

import itertools
import threading
import time

import pytest
import torch
import torch.nn as nn

from unimodal.errors import InputError
from unimodal.inference.pipeline import predictions, why
from unimodal.inference.sources import Input
from unimodal.sample import Sample


class Doubling:
    """A task on integers: twice the number; some of them cannot be read or predicted."""

    def __init__(self, *, unreadable=(), poison=(), room=10**9):
        self.module = nn.Linear(1, 1)
        self.unreadable, self.poison, self.room = unreadable, poison, room
        self.batches, self.read_so_far, self.lock = [], 0, threading.Lock()

    def read(self, source):
        with self.lock:
            self.read_so_far += 1
        time.sleep(0.0005 * (source % 3))  # later ones may be ready first
        if source in self.unreadable:
            raise InputError(source, "cannot be read", "give another")
        return Sample("number", source, str(source), None, cost=10 + source % 5)

    def predict(self, samples):
        self.batches.append([s.data for s in samples])
        if sum(s.cost for s in samples) > self.room:
            raise torch.OutOfMemoryError("out of memory")
        if any(s.data in self.poison for s in samples):
            raise KeyError("poison")
        return [2 * s.data for s in samples]


def reason(result):
    assert result.prediction is None
    return why(result.error)


def outcomes(task, count, **settings):
    return list(predictions(task, range(count), **settings))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_results_come_in_the_order_of_the_inputs(workers):
    found = outcomes(Doubling(), 200, batch_tokens=64, workers=workers)
    assert [r.prediction for r in found] == [2 * i for i in range(200)]
    assert [r.index for r in found] == list(range(200))
    assert {r.error for r in found} == {None}


def test_batches_are_as_full_as_the_budget_allows_and_a_big_sample_is_alone():
    task = Doubling()
    outcomes(task, 100, batch_tokens=64)
    costs = [[10 + i % 5 for i in batch] for batch in task.batches]
    assert all(sum(cost) <= 64 for cost in costs)
    assert all(sum(a) + b[0] > 64 for a, b in itertools.pairwise(costs))
    alone = Doubling()
    outcomes(alone, 5, batch_tokens=1)
    assert alone.batches == [[0], [1], [2], [3], [4]]


def test_one_bad_input_is_one_bad_result_in_its_place():
    found = outcomes(Doubling(unreadable={3}, poison={7}), 10, batch_tokens=1000)
    assert [r.prediction for r in found] == [2 * i if i not in (3, 7) else None for i in range(10)]
    assert reason(found[3]) == "cannot be read; give another"
    assert reason(found[7]) == "KeyError: 'poison'"


def test_a_batch_that_fails_is_tried_one_by_one():
    task = Doubling(poison={1})
    outcomes(task, 3, batch_tokens=1000)
    assert task.batches == [[0, 1, 2], [0], [1], [2]]


def test_a_batch_that_does_not_fit_into_memory_is_halved_and_the_next_ones_are_smaller():
    task = Doubling(room=60)
    found = outcomes(task, 60, batch_tokens=100)
    assert [r.prediction for r in found] == [2 * i for i in range(60)]
    assert len(task.batches[0]) > len(task.batches[1])
    refused = [batch for batch in task.batches if sum(10 + i % 5 for i in batch) > 60]
    assert len(refused) == 1, "the budget was learned from the first refusal"


def test_what_does_not_fit_alone_is_an_error_of_its_own():
    found = outcomes(Doubling(room=13), 5, batch_tokens=100)
    assert [r.prediction for r in found] == [0, 2, 4, 6, None]
    assert reason(found[4]) == "OutOfMemoryError: out of memory"


def test_a_task_that_returns_too_few_predictions_is_caught():
    task = Doubling()
    task.predict = lambda samples: []
    assert reason(outcomes(task, 2)[1]) == "ValueError: the task returned 0 predictions for 1 samples"


def test_inputs_are_read_no_further_ahead_than_a_batch():
    task, asked = Doubling(), 0

    def endless():
        nonlocal asked
        while True:
            yield asked
            asked += 1

    stream = predictions(task, endless(), batch_tokens=60, workers=2)
    for i in range(300):
        assert next(stream).index == i
    assert asked < 300 + 3 * 6 + 4
    stream.close()
    before = task.read_so_far
    time.sleep(0.05)
    assert task.read_so_far <= before, "nothing is read after the end"


def test_names_are_those_of_the_inputs():
    inputs = [Input("first", 1), 2]
    assert [r.name for r in predictions(Doubling(), inputs)] == ["first", "input 1"]


@pytest.mark.parametrize(
    "settings, told",
    [({"batch_tokens": 0}, "batch_tokens must be positive, not 0"), ({"workers": -1}, "workers must not be negative")],
)
def test_senseless_settings_are_refused_at_once(settings, told):
    with pytest.raises(ValueError, match=told):
        predictions(Doubling(), [1], **settings)


class Affine(Doubling):
    """A task whose module does the work."""

    def __init__(self):
        super().__init__()
        self.module = nn.Linear(64, 256)
        self.used = []

    def predict(self, samples):
        self.used.append(self.module)
        x = torch.stack([torch.full((64,), float(s.data)) for s in samples])
        return list(self.module(x.repeat(64, 1))[: len(samples)])


def test_packed_linear_maps_predict_the_same_and_leave_the_task_alone():
    task = Affine()
    module = task.module
    plain = outcomes(task, 20, linear_maps="reference")
    assert set(task.used) == {module}
    packed = outcomes(task, 20)
    assert task.module is module
    assert type(task.used[-1]) is not nn.Linear
    for a, b in zip(plain, packed, strict=True):
        torch.testing.assert_close(b.prediction, a.prediction, rtol=0, atol=1e-5 * a.prediction.abs().max().item())


def test_packing_that_is_demanded_and_cannot_be_is_told_before_anything_is_read():
    task = Affine()
    task.module.double()
    with pytest.raises(RuntimeError, match="does not take torch.float64"):
        predictions(task, [1], linear_maps="require")
    assert task.read_so_far == 0
