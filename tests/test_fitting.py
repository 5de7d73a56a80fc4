"""Fitting a task: it learns, the encoder stays, it resumes to the bit, and broken files are skipped and named."""

import json

import pytest
import torch

from unimodal.catalog import catalog
from unimodal.errors import InputError
from unimodal.fitting import fit_task
from unimodal.from_recipe import from_recipe
from unimodal.inference.evaluation import evaluate
from unimodal.provenance import Provenance
from unimodal.task import load_task, save_task
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


def small_pyramid(coloured_shapes, out, **settings):
    """A classifier trained from random weights, encoder and head."""
    settings = {"encoder": "recipe:unireplknet/a,image=32", "steps": 2, "batch": 4, **settings}
    return fit_task("classification", coloured_shapes / "test", out, **settings)


def test_an_encoder_from_scratch_is_trained_along_and_saved_with_the_head(coloured_shapes, tmp_path):
    card = small_pyramid(coloured_shapes, tmp_path)
    assert card["encoder_began"] == {"": "random"}
    weights = read_weights(tmp_path / "model.safetensors")
    torch.manual_seed(0)
    before = from_recipe("recipe:unireplknet/a,image=32")().state_dict()
    moved = {name for name, w in before.items() if not torch.equal(w, weights[f"encoder.{name}"])}
    assert {name for name in before if name.endswith("weight") or "running" in name} <= moved
    task = load_task("classification", tmp_path)
    assert Provenance.of(task.module).random(task.module) == []
    assert Provenance.of(task.module).status("encoder.readout.norm.weight") == "trained"
    sample = task.read(coloured_shapes / "test" / "red" / "0.png")
    assert sample.record.size == (32, 32)
    logits = torch.tensor([p for _, p in sorted(task.predict([sample])[0].ranked)])
    expected = task.module(task.tokenizer.collate([sample])).softmax(-1)[0]
    torch.testing.assert_close(logits, expected[torch.tensor(sorted(range(3), key=lambda i: task.classes[i]))])
    task.encoder = card["encoder"]
    save_task(task, tmp_path / "again", card={"name": "copy"})
    assert (
        load_task("classification", tmp_path / "again").predict([sample])[0].ranked == task.predict([sample])[0].ranked
    )


def test_encoders_from_scratch_are_shared_by_nobody(coloured_shapes, tmp_path):
    small_pyramid(coloured_shapes, tmp_path)
    first, second = (load_task("classification", tmp_path).module for _ in range(2))
    assert first.encoder is not second.encoder


def test_a_run_with_an_encoder_from_scratch_that_was_interrupted_goes_on_to_the_same_weights(coloured_shapes, tmp_path):
    def stop(progress):
        if progress.step == 1:
            raise RuntimeError("power cut")

    small_pyramid(coloured_shapes, tmp_path / "whole")
    with pytest.raises(RuntimeError, match="power cut"):
        small_pyramid(coloured_shapes, tmp_path / "cut", report=stop)
    small_pyramid(coloured_shapes, tmp_path / "cut")
    whole, cut = (read_weights(tmp_path / name / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


def test_an_encoder_with_weights_is_tuned_as_a_copy_where_the_task_is_told_to(tiny_encoder, coloured_shapes, tmp_path):
    before = weights_digest(shared_encoder(str(tiny_encoder)).state_dict())
    card = fit(tiny_encoder, coloured_shapes / "test", tmp_path, options={"whole": True}, steps=2)
    assert card["encoder_began"] == {"": "trained"}
    tuned = load_task("classification", tmp_path).module.encoder
    assert (
        weights_digest(tuned.state_dict()) != before == weights_digest(shared_encoder(str(tiny_encoder)).state_dict())
    )


def test_a_random_encoder_is_never_frozen(coloured_shapes, tmp_path):
    with pytest.raises(ValueError, match="is random, so it is trained along with the head: whole=false cannot be"):
        small_pyramid(coloured_shapes, tmp_path, options={"whole": False})
    with pytest.raises(ValueError, match="is random, and the task 'segmentation' trains no encoder"):
        fit_task("segmentation", coloured_shapes, tmp_path, encoder="recipe:unireplknet")
