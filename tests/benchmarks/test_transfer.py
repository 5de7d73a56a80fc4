"""The transfer bench: every arm trains what it says and nothing else, and a run that is there is not run again."""

import json

import numpy as np
import pytest
import torch

from benchmarks import transfer
from benchmarks.transfer import ARMS, PREPARE, Answers, main, run
from benchmarks.transfer_sets import PROBLEMS, Problem


def problem() -> Problem:
    draw = np.random.default_rng(0)
    labels = tuple(i % 2 for i in range(40))
    step = np.arange(48)
    waves = tuple((np.sin(step / (2 + 6 * k)) + 0.1 * draw.normal(size=48)).astype(np.float32) for k in labels)
    return Problem("time_series", "slow or fast", waves[:24], labels[:24], waves[24:], labels[24:])


@pytest.fixture(autouse=True)
def one_problem(monkeypatch):
    monkeypatch.setattr(transfer, "PROBLEMS", {"waves": lambda folder: problem()})


@pytest.mark.parametrize("arm", [arm for arm in ARMS if arm not in ("shipped", "guided")])
def test_a_frozen_core_stays_as_it_is_to_the_bit(arm, monkeypatch):
    kept = {}

    def prepared(model, modality):
        kept["model"] = PREPARE_BEFORE(model, modality)
        kept["core"] = {k: v.clone() for k, v in kept["model"].transformer.state_dict().items()}
        return kept["model"]

    PREPARE_BEFORE = PREPARE[arm]
    monkeypatch.setitem(PREPARE, arm, prepared)
    row = run(Answers(problem()), arm, 0, 3)
    after = kept["model"].transformer.state_dict()
    changed = {k for k, v in kept["core"].items() if not torch.equal(v, after[k])}
    if arm == "scratch":
        assert len(changed) == len(after)
    else:
        assert all("low_rank" in name for name in changed)
        assert bool(changed) == (arm == "low rank")
    assert row["trained_parameters"] == sum(
        p.numel() for p in kept["model"].parameters() if p.requires_grad
    ) + 2 * kept["model"].dim + 2  # fmt: skip
    assert len(row["items"]) == 16
    assert set(row["items"]) <= {0.0, 1.0}


def test_arms_differ_in_the_core_alone():
    starts = []
    for arm in ("random", "pictures", "joint"):
        torch.manual_seed(0)
        model = PREPARE[arm](transfer._model("time_series"), "time_series")
        starts.append({k: v for k, v in model.state_dict().items() if not k.startswith("transformer.")})
    for other in starts[1:]:
        assert all(torch.equal(v, other[k]) for k, v in starts[0].items())


def test_the_shipped_encoder_trains_one_linear_layer_alone():
    row = run(Answers(problem()), "shipped", 0, 3)
    assert row["trained_parameters"] == 128 * 2 + 2
    assert row["score"] > 0.8


def test_a_run_that_is_there_is_not_run_again(tmp_path, capsys):
    command = ["--data", "none", "--run", str(tmp_path), "--only", "waves", "--arms", "random", "--steps", "2"]
    assert main([*command, "--seeds", "2"]) == 0
    first = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "waves").iterdir()}
    assert set(first) == {"random-0.json", "random-1.json"}
    assert main([*command, "--seeds", "3"]) == 0
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "waves").iterdir()}
    assert set(after) == {*first, "random-2.json"}
    assert all(after[name] == time for name, time in first.items())
    assert json.loads((tmp_path / "waves" / "random-2.json").read_text())["seed"] == 2


@pytest.mark.parametrize("name", ["activities", "opinions", "table rows", "turned objects"])
def test_the_data_of_a_problem_answer_its_question(name, shared_data):
    held = PROBLEMS[name](shared_data)
    assert len(held.train) == len(held.train_labels) <= 1000
    assert len(held.test) == len(held.test_labels) <= 300
    assert set(held.test_labels) == set(range(max(held.test_labels) + 1))
    assert set(held.train_labels) == set(held.test_labels)
    assert 0 < held.chance < 0.8
