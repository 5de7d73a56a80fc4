"""check_task: it passes a sound task, and finds each of these defects by name."""

import random

import pytest
import torch
import torch.nn as nn

from unimodal.tasks.classification import Classification, ClassifierModule
from unimodal.testing import check_task


class Wrapped:
    """A prediction with one method replaced."""

    def __init__(self, inner, **methods):
        self.inner, self.methods = inner, methods

    def __getattr__(self, name):
        return self.methods.get(name) or getattr(self.inner, name)


def with_predictions(**methods):
    class Defective(Classification):
        def predict(self, samples):
            return [Wrapped(p, **{k: v(p) for k, v in methods.items()}) for p in super().predict(samples)]

    return Defective


class Thawed(Classification):
    @staticmethod
    def build(encoder, **options):
        module = ClassifierModule(encoder, **options)
        module.encoder.requires_grad_(True)
        return module


class Loud(ClassifierModule):
    def train(self, mode=True):
        return nn.Module.train(self, mode)


class TrainingEncoder(Classification):
    @staticmethod
    def build(encoder, **options):
        return Loud(encoder, **options)


class Leaking(Classification):
    def predict(self, samples):
        found = super().predict(samples)
        return found[:1] * len(found)


class Dicing(Classification):
    def predict(self, samples):
        noise = torch.randn(())
        return [Wrapped(p, to_json=lambda: {"value": noise.item()}) for p in super().predict(samples)]


class Reading(Classification):
    def read(self, source):
        try:
            return super().read(source)
        except ValueError:
            return super().read(torch.zeros(3, 3, 3, dtype=torch.uint8).numpy())


class Flat(Classification):
    def loss(self, samples, targets):
        return torch.zeros((), requires_grad=True)


class Unmerged(Classification):
    def metrics(self):
        metrics = super().metrics()
        for metric in metrics.values():
            metric.merge = lambda other: None  # pyright: ignore[reportAttributeAccessIssue]
        return metrics


def write_elsewhere(prediction):
    def save(folder, stem):
        (folder / "other.txt").write_text("x")
        return [folder / "other.txt"]

    return save


DEFECTS = [
    (Thawed, "built_as_declared: .*the shared encoder is not frozen"),
    (TrainingEncoder, "built_as_declared: .*train.. puts the encoder into training mode"),
    (Leaking, "neighbours_have_no_influence: .*sample 1 alone and among others"),
    (Dicing, "the_same_input_gives_the_same_result: "),
    (Reading, "bad_inputs_are_input_errors: .*a missing file can be read"),
    (Flat, "the_loss_trains_all_but_the_encoder: .*no parameter gets a gradient"),
    (Unmerged, "halves_of_metrics_merge_to_the_whole: .*of merged halves"),
    (
        with_predictions(to_json=lambda p: lambda: {"x": torch.zeros(1)}),
        "predictions_are_rows: .*not JSON serializable",
    ),
    (with_predictions(to_json=lambda p: lambda: {"error": 1}), "predictions_are_rows: .*columns of the runner"),
    (with_predictions(to_json=lambda p: lambda: {p.source: 1}), "predictions_are_rows: .*to_json.. has the keys"),
    (with_predictions(render=lambda p: lambda: {"text": "x"}), "shown_is_what_is_declared: .*outputs declares"),
    (with_predictions(render=lambda p: lambda: {"classes": {"a": 7.0}}), "is not dict of class name to probability"),
    (with_predictions(save=write_elsewhere), "files_can_be_read: .*not file 0"),
]


@pytest.mark.parametrize("task, found", DEFECTS)
def test_a_defect_is_found_and_named(task, found, coloured_shapes):
    with pytest.raises(AssertionError, match=found):
        check_task(task, data=coloured_shapes / "test", sources=pictures(coloured_shapes))


def pictures(coloured_shapes):
    files = sorted((coloured_shapes / "test").rglob("*.png"))
    return random.Random(0).sample(files, 3)


def test_without_a_data_set_loss_and_metrics_are_not_said_to_be_checked(coloured_shapes):
    names = check_task(Classification, sources=pictures(coloured_shapes))
    assert names
    assert not any("loss" in name or "metrics" in name for name in names)


def test_two_inputs_are_needed(coloured_shapes):
    with pytest.raises(ValueError, match="two or more inputs are needed"):
        check_task(Classification, sources=pictures(coloured_shapes)[:1])


def test_what_is_no_task_is_refused():
    with pytest.raises(TypeError, match="must be a class, not ClassifierModule|breaks the contract"):
        check_task(ClassifierModule)
