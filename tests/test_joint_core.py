"""The recipe of the joint core: an interrupted run ends as an uninterrupted one, and its batches are what they say."""

import importlib
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

RECIPES = str(Path(__file__).parents[1] / "recipes")


@pytest.fixture
def recipe(monkeypatch) -> Any:
    monkeypatch.syspath_prepend(RECIPES)
    found = importlib.import_module("joint_core")
    monkeypatch.setattr(found, "WEIGHTS", {"imu": 2.0, "ett": 1.0})
    return found


def test_a_resumed_run_is_the_uninterrupted_one_to_the_bit(recipe, shared_data, tmp_path, monkeypatch):
    torch.set_num_threads(1)
    whole = recipe.trained(shared_data, tmp_path / "whole", whole=6)
    weighted, stopped = recipe.weighted, []

    def interrupting(*args):
        turn = weighted(*args)

        def at(step):
            if step == 3 and not stopped:
                stopped.append(step)
                os.kill(os.getpid(), signal.SIGINT)
            return turn(step)

        return at

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have told us to ignore it
    try:
        monkeypatch.setattr(recipe, "weighted", interrupting)
        with pytest.raises(KeyboardInterrupt):
            recipe.trained(shared_data, tmp_path / "cut", whole=6)
    finally:
        signal.signal(signal.SIGINT, before)
    assert stopped
    again = recipe.trained(shared_data, tmp_path / "cut", whole=6)
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in whole.state_dict().items())


def test_a_set_alone_has_as_many_steps_as_in_the_mixture(recipe, shared_data, tmp_path):
    import json

    recipe.trained(shared_data, tmp_path, only="imu", whole=6)
    assert json.loads((tmp_path / "result.json").read_text())["steps_of_set"] == {"imu": 4}


def test_hours_ahead_are_hidden_and_asked_for_in_the_units_of_what_is_seen(recipe, shared_data):
    sets = importlib.import_module("joint_sets")
    model = recipe.small_multimodal_encoder()()
    series = sets.Series(shared_data, model.tokenizer("time_series"))
    ((batch, values),) = series.parts([0, 100])
    assert batch.data.shape == values.shape == (2, 7, 192)
    assert batch.data[..., 96:].isnan().all()
    assert not batch.data[..., :96].isnan().any()
    torch.testing.assert_close(batch.data[..., :96], values[..., :96])
    assert values[..., :96].mean(-1).abs().max() < 1e-3


def test_no_recording_of_the_unheard_speaker_is_learned_from(recipe, shared_data):
    data = importlib.import_module("multimodal_data")
    parts = [part for part, _, _ in data.spoken_digits(shared_data)]
    assert {part: parts.count(part) for part in set(parts)} == {"test": 500, "train": 2250, "takes": 250}


def test_sounds_of_a_batch_keep_their_labels_through_the_pieces(recipe):
    sets = importlib.import_module("joint_sets")
    torch.manual_seed(0)
    loudness = torch.arange(1.0, 9.0)
    waves = [level * torch.ones(800 + 400 * int(level)) for level in loudness]
    pieces = list(sets._sounds(waves, torch.arange(8)))
    assert sorted(torch.cat([labels for _, labels in pieces]).tolist()) == list(range(8))
    for batch, labels in pieces:
        assert len(batch.data) == len(labels) == 2
        assert (batch.data.shape[-1] - 400) % 160 == 0
