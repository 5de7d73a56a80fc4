"""Fitting a task: it learns, the encoder stays, it resumes to the bit, and broken files are skipped and named."""

import json

import pytest
import torch

from unimodal.catalog import catalog
from unimodal.errors import InputError
from unimodal.fitting import fit_task
from unimodal.inference.evaluation import evaluate
from unimodal.task import load_task
from unimodal.task_checkpoint import shared_encoder
from unimodal.weights_file import read_weights, weights_digest


def fit(tiny_encoder, data, out, **settings):
    settings = {"encoder": str(tiny_encoder), "steps": 12, "batch": 8, **settings}
    return fit_task("classification", data, out, **settings)


def test_a_head_on_frozen_features_learns_coloured_shapes_and_the_card_says_so(classifier, coloured_shapes):
    card = json.loads((classifier / "task.json").read_text())["card"]
    found = evaluate(load_task("classification", classifier), coloured_shapes / "test")
    assert found.samples == 60
    assert found.errors == ()
    assert found.metrics["top1"] >= 0.9
    assert card["measured"]["metrics"] == found.metrics
    assert card["skipped"] == []
    assert card["options"]["classes"] == sorted(p.name for p in (coloured_shapes / "train").iterdir())


def test_the_shared_encoder_is_the_same_to_the_bit_after_training(tiny_encoder, classifier):
    assert weights_digest(shared_encoder(str(tiny_encoder)).state_dict()) == weights_digest(
        read_weights(tiny_encoder / "model.safetensors")
    )
    assert set(read_weights(classifier / "model.safetensors")) == {"head.weight", "head.bias"}


def test_a_run_that_was_interrupted_ends_with_the_weights_of_one_that_was_not(tiny_encoder, coloured_shapes, tmp_path):
    data = coloured_shapes / "test"
    fit(tiny_encoder, data, tmp_path / "whole")

    def stop(progress):
        if progress.step == 5:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        fit(tiny_encoder, data, tmp_path / "cut", report=stop)
    fit(tiny_encoder, data, tmp_path / "cut")
    whole, cut = (read_weights(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_other_settings_do_not_go_on_with_a_run(tiny_encoder, coloured_shapes, tmp_path):
    fit(tiny_encoder, coloured_shapes / "test", tmp_path)
    with pytest.raises(ValueError, match=r"holds a run with rate 0.003, not 0.1; choose another folder"):
        fit(tiny_encoder, coloured_shapes / "test", tmp_path, rate=0.1)


def test_broken_files_are_skipped_and_named(tiny_encoder, coloured_shapes, tmp_path):
    data = tmp_path / "data"
    for colour in ("red", "blue"):
        (data / colour).mkdir(parents=True)
        for i in range(4):
            (data / colour / f"{i}.png").write_bytes((coloured_shapes / "test" / colour / f"{i}.png").read_bytes())
    (data / "red" / "9.png").write_bytes(b"no picture")
    card = fit(tiny_encoder, data, tmp_path / "out")
    assert card["skipped"] == [f"{data / 'red' / '9.png'}: is not an image file (it begins with b'no pictu')"]
    assert card["measured"] == "nothing: no validation set was given"


def test_a_data_set_without_a_readable_sample_is_refused(tiny_encoder, tmp_path):
    (tmp_path / "data" / "red").mkdir(parents=True)
    (tmp_path / "data" / "red" / "1.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="all others of the data set cannot be used"):
        fit(tiny_encoder, tmp_path / "data", tmp_path / "out")


def test_numbers_must_be_positive(tiny_encoder, coloured_shapes, tmp_path):
    with pytest.raises(ValueError, match="steps, batch and rate must be positive, not 0, 8 and 0.003"):
        fit(tiny_encoder, coloured_shapes / "test", tmp_path, steps=0)


def test_a_task_without_parameters_has_nothing_to_train(tiny_encoder, coloured_shapes, tmp_path, monkeypatch):
    def frozen(encoder, **options):
        return built(encoder, **options).requires_grad_(False)

    built = catalog("tasks")["classification"].build
    monkeypatch.setattr(catalog("tasks")["classification"], "build", staticmethod(frozen))
    with pytest.raises(ValueError, match="'classification' has no parameters of its own to train"):
        fit(tiny_encoder, coloured_shapes / "test", tmp_path)
