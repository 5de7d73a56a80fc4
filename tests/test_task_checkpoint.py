"""Task checkpoints: the round trip, the shared encoder, provenance, and everything that is refused."""

import json
import shutil

import pytest
import torch

from unimodal.checkpoint import load_checkpoint, save
from unimodal.errors import CheckpointError
from unimodal.pretrained import load
from unimodal.provenance import Provenance
from unimodal.task import load_task, save_task
from unimodal.task_checkpoint import load_task_module, shared_encoder
from unimodal.tasks.classification import Classification
from unimodal.weights_file import read_weights, write_weights


@pytest.fixture
def folder(classifier, tmp_path):
    """A copy of a checkpoint, to be damaged."""
    return shutil.copytree(classifier, tmp_path / "classifier")


def change(folder, **settings):
    found = json.loads((folder / "task.json").read_text())
    (folder / "task.json").write_text(json.dumps({**found, **settings}))


def test_a_saved_task_predicts_the_same_and_holds_no_encoder(classifier, coloured_shapes, tmp_path):
    task = load_task("classification", classifier)
    task.encoder = json.loads((classifier / "task.json").read_text())["encoder"]
    save_task(task, tmp_path / "again", card={"name": "copy"})
    other = load_task("classification", tmp_path / "again")
    sample = task.read(coloured_shapes / "test" / "red" / "3.png")
    assert other.predict([sample])[0].to_json() == task.predict([sample])[0].to_json()
    assert set(read_weights(tmp_path / "again" / "model.safetensors")) == {"head.weight", "head.bias"}


def test_tasks_share_one_frozen_encoder(classifier, tiny_encoder):
    first, second = (load_task("classification", classifier) for _ in range(2))
    assert first.module.encoder is second.module.encoder is shared_encoder(str(tiny_encoder))
    assert not any(p.requires_grad for p in first.module.encoder.parameters())
    first.module.train()
    assert not any(m.training for m in first.module.encoder.modules())
    first.module.eval()


def test_a_module_says_which_of_its_weights_are_trained_converted_or_random(classifier, tiny_encoder, monkeypatch):
    told = Provenance.of(load_task_module(Classification, classifier))
    assert (told.status("head.weight"), told.status("encoder.transformer.norm.weight")) == ("trained", "trained")
    monkeypatch.setattr(Classification, "weights", None)
    monkeypatch.setattr(Classification, "encoder", str(tiny_encoder))
    module = load_task_module(Classification, None, allow_random=True)
    assert Provenance.of(module).status("head.weight") == "random"
    assert Provenance.of(module).status("encoder.transformer.norm.weight") == "trained"
    assert Provenance.of(module).random(module) == ["the rest"]


def test_parameters_that_nobody_trained_need_a_flag(tiny_encoder, monkeypatch):
    monkeypatch.setattr(Classification, "weights", None)
    monkeypatch.setattr(Classification, "encoder", str(tiny_encoder))
    with pytest.raises(ValueError, match="'classification' has 330 parameters of its own and no trained weights"):
        load_task_module(Classification, None)


def test_weights_can_be_embedded_by_a_plugin_by_full_path(classifier, monkeypatch):
    monkeypatch.setattr(Classification, "weights", str(classifier))
    assert Provenance.of(load_task_module(Classification, None)).status("head.weight") == "trained"


def test_an_encoder_with_other_weights_than_those_the_head_knew_is_refused(folder, tiny_encoder, tmp_path):
    model, info = load_checkpoint(tiny_encoder)
    with torch.no_grad():
        next(model.parameters()).add_(1e-3)
    other = save(model, tmp_path / "other", part=info.part, provenance=Provenance({"": "trained"}))
    change(folder, encoder=str(other))
    with pytest.raises(CheckpointError, match="it was trained on other weights of the encoder .*; train it again"):
        load_task_module(Classification, folder)


def test_weights_of_another_save_are_refused(folder):
    weights = read_weights(folder / "model.safetensors")
    write_weights(folder / "model.safetensors", {name: w + 1 for name, w in weights.items()})
    with pytest.raises(CheckpointError, match="its content is not the one that task.json was written for"):
        load_task_module(Classification, folder)


@pytest.mark.parametrize(
    "settings, told",
    [
        ({"format": "other"}, "is no task checkpoint that this release reads"),
        ({"version": 2}, "is no task checkpoint that this release reads"),
        ({"task": "segmentation"}, "holds the task 'segmentation', not 'classification'"),
        ({"options": None}, "lacks options"),
        ({"card": 3, "encoder": None}, "lacks encoder, card"),
        ({"options": {"colour": 1}}, "the options cannot be used .*colour"),
        ({"options": {"classes": ["a", "a"]}}, "the options cannot be used .*different names"),
        ({"options": {"classes": ["a", "b"]}}, "the weights do not fit the model"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, told, folder):
    change(folder, **settings)
    with pytest.raises(CheckpointError, match=told):
        load_task_module(Classification, folder)


def test_a_folder_that_is_no_checkpoint_says_how_to_make_one(tmp_path):
    with pytest.raises(CheckpointError, match=r"it has no task.json; train one: unimodal train classification"):
        load_task_module(Classification, tmp_path)


def test_settings_that_are_no_json_are_refused(folder):
    (folder / "task.json").write_text("{")
    with pytest.raises(CheckpointError, match="not readable as JSON"):
        load_task_module(Classification, folder)


def test_a_card_that_is_no_json_is_refused_and_nothing_is_written(classifier, tmp_path):
    task = load_task("classification", classifier)
    with pytest.raises(ValueError, match="the options or the card of 'classification' are not plain JSON"):
        save_task(task, tmp_path / "out", card={"score": torch.zeros(1)})
    assert not (tmp_path / "out").exists()


def test_a_tree_of_parts_that_cannot_be_read_is_refused(folder):
    settings = json.loads((folder / "task.json").read_text())
    options = {**settings["options"], "whole": True}
    for part, told in (({}, "a part is written as"), ({"part": "mixers.nothing", "with": {}}, "no mixer named")):
        change(folder, options=options, encoder_part=part)
        with pytest.raises(CheckpointError, match=f"the encoder's parts cannot be used .*{told}"):
            load_task_module(Classification, folder)


def test_an_encoder_that_was_trained_along_is_saved_with_its_parts_or_not_at_all(tiny_encoder, tmp_path):
    task = Classification(Classification.build(load(tiny_encoder), whole=True))
    with pytest.raises(ValueError, match="was trained along, and module.encoder_part says not what it is"):
        save_task(task, tmp_path / "out", card={})
    assert not (tmp_path / "out").exists()
