"""Weighted sampling: shares are kept to within a batch at every step, and a step alone says what its batch is."""

import os
import random
import signal
from collections import Counter
from fractions import Fraction

import pytest
import torch
import torch.nn as nn

from unimodal.training import cosine, fit
from unimodal.weighted import weighted

SIZES = {"pictures": 50, "sounds": 13, "clouds": 7}
WEIGHTS = {"pictures": 0.6, "sounds": 0.3, "clouds": 0.1}


def turns(draw, steps):
    return [draw(step)[0] for step in range(steps)]


def test_no_data_set_is_ever_a_whole_batch_away_from_its_share():
    chance = random.Random(0)
    for trial in range(60):
        members = chance.randint(2, 6)
        weights = {f"set{i}": chance.choice([1, 1, 2, 0.1, 7.25, 300, chance.random()]) for i in range(members)}
        draw = weighted(dict.fromkeys(weights, 4), weights, 2, trial)
        total = sum(Fraction(str(weight)) for weight in weights.values())
        count = Counter()
        for step, name in enumerate(turns(draw, 300), start=1):
            count[name] += 1
            away = max(abs(Fraction(str(w)) / total * step - count[n]) for n, w in weights.items())
            assert away <= 1 - Fraction(1, 2 * members - 2)


def test_shares_of_whole_periods_are_exact_and_even():
    names = turns(weighted(SIZES, WEIGHTS, 2, 0), 100)
    assert Counter(names) == {"pictures": 60, "sounds": 30, "clouds": 10}
    assert all(Counter(names[at : at + 10])["clouds"] == 1 for at in range(0, 100, 10))
    assert turns(weighted(SIZES, {n: 40 * w for n, w in WEIGHTS.items()}, 2, 0), 100) == names


def test_each_data_set_goes_through_its_own_epochs():
    draw = weighted(SIZES, WEIGHTS, {"pictures": 10, "sounds": 4, "clouds": 7}, 3)
    seen = {name: [] for name in SIZES}
    for step in range(200):
        name, indices = draw(step)
        seen[name].append(indices)
    for name, whole in {"pictures": 5, "sounds": 3, "clouds": 1}.items():
        for at in range(0, len(seen[name]) // whole * whole, whole):
            epoch = torch.cat(seen[name][at : at + whole])
            assert len(epoch.unique()) == len(epoch)
            assert epoch.min() >= 0
            assert epoch.max() < SIZES[name]
    first, second = torch.cat(seen["pictures"][:5]), torch.cat(seen["pictures"][5:10])
    assert torch.equal(first.sort().values, torch.arange(50))
    assert not torch.equal(first, second)


def test_a_step_alone_says_what_its_batch_is_whatever_was_asked_before():
    steps = list(range(0, 400, 7))
    whole = weighted(SIZES, WEIGHTS, 3, 5)
    expected = {step: whole(step) for step in steps}
    random.Random(1).shuffle(steps)
    again = weighted(dict(reversed(SIZES.items())), WEIGHTS, 3, 5)
    for step in steps:
        name, indices = again(step)
        assert name == expected[step][0]
        assert torch.equal(indices, expected[step][1])


def test_the_order_within_a_data_set_does_not_depend_on_the_others():
    alone = weighted({"sounds": 13}, {"sounds": 1}, 2, 5)
    among = weighted(SIZES, WEIGHTS, 2, 5)
    own = [indices for name, indices in map(among, range(100)) if name == "sounds"]
    assert all(torch.equal(indices, alone(turn)[1]) for turn, indices in enumerate(own))
    twins = weighted({"a": 50, "b": 50}, {"a": 1, "b": 1}, 50, 0)
    assert {twins(0)[0], twins(1)[0]} == {"a", "b"}
    assert not torch.equal(twins(0)[1], twins(1)[1])


def test_the_seed_changes_the_orders_and_not_the_shares():
    runs = [weighted(SIZES, WEIGHTS, 2, seed) for seed in (0, 1)]
    assert [Counter(turns(run, 10)) for run in runs] == [{"pictures": 6, "sounds": 3, "clouds": 1}] * 2
    assert not torch.equal(*(torch.cat([run(step)[1] for step in range(10)]) for run in runs))


def test_weight_0_is_never_drawn_even_from_an_empty_data_set():
    draw = weighted({"a": 4, "b": 0}, {"a": 1, "b": 0}, 2, 0)
    assert set(turns(draw, 50)) == {"a"}


def test_a_resumed_run_ends_with_the_bits_of_one_that_was_not_cut(tmp_path):
    data = {name: torch.randn(size, 3, generator=torch.Generator().manual_seed(size)) for name, size in SIZES.items()}

    def train(folder, stop=None):
        torch.manual_seed(0)
        net, draw, seen = nn.Linear(3, 1), weighted(SIZES, WEIGHTS, 2, 1), []

        def batches(step):
            if step == stop:
                os.kill(os.getpid(), signal.SIGINT)
            name, indices = draw(step)
            seen.append((step, name, indices.tolist()))
            return data[name][indices]

        optimizers = [torch.optim.AdamW(net.parameters(), lr=1e-2)]
        step = (net, lambda batch: net(batch).square().mean(), batches, optimizers)
        try:
            fit(*step, steps=25, folder=folder, schedule=cosine())
        except KeyboardInterrupt:
            assert stop is not None
        return net.state_dict(), seen

    expected, all_seen = train(tmp_path / "whole")
    _, before = train(tmp_path / "cut", stop=11)
    found, after = train(tmp_path / "cut")
    assert before + after == all_seen
    assert after[0][0] == 12
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


def test_data_sets_that_differ_in_name_are_refused():
    with pytest.raises(ValueError, match="weights is for .*but the data sets are"):
        weighted(SIZES, {"pictures": 1}, 2, 0)
    with pytest.raises(ValueError, match="batch is for .*but the data sets are"):
        weighted(SIZES, WEIGHTS, {"pictures": 2}, 0)


@pytest.mark.parametrize("weight", [-0.1, float("inf"), float("nan")])
def test_weights_that_are_no_shares_are_refused(weight):
    with pytest.raises(ValueError, match="weights must be finite, at least 0 and not all 0"):
        weighted(SIZES, {**WEIGHTS, "sounds": weight}, 2, 0)


def test_weights_that_are_all_0_are_refused():
    with pytest.raises(ValueError, match="not all 0"):
        weighted(SIZES, dict.fromkeys(SIZES, 0.0), 2, 0)


def test_a_batch_larger_than_its_data_set_is_refused_by_name():
    with pytest.raises(ValueError, match="clouds: a batch of 8 cannot be drawn from 7 items"):
        weighted(SIZES, WEIGHTS, 8, 0)
