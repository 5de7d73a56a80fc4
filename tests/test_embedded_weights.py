"""The weights that ship do what their cards say, on real data that they were not trained on."""

import importlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from unimodal.checkpoint import load_checkpoint
from unimodal.task import load_task

WEIGHTS = Path(__file__).parents[1] / "unimodal" / "weights"
RECIPES = str(Path(__file__).parents[1] / "recipes")
ENCODERS = ["small_image_encoder", "small_multimodal_encoder"]
FOLDERS = [*ENCODERS, "classification_cifar10", "segmentation_camvid", "forecaster_ett", "forecasting_ett"]


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_checkpoint_has_a_card_with_what_was_measured(folder):
    settings = json.loads(next((WEIGHTS / folder).glob("[ct]*.json")).read_text())
    card = settings["card"]
    assert {"name", "data", "licence", "command", "seed", "steps", "spent_s"} <= set(card)
    text = (WEIGHTS / folder / "README.md").read_text()
    for word in (card["name"], card["command"], "Licence", "Seed", "Measured"):
        assert word in text


def test_all_weights_together_are_small():
    assert sum(file.stat().st_size for file in WEIGHTS.rglob("*") if file.is_file()) < 60e6


@pytest.mark.parametrize("folder", ENCODERS)
def test_the_encoder_says_that_it_is_trained(folder):
    model, info = load_checkpoint(WEIGHTS / folder)
    assert not info.provenance.random(model)
    assert {info.provenance.status(name) for name in model.state_dict()} == {"trained"}


def test_both_tasks_stand_on_one_encoder_object():
    assert load_task("classification").module.encoder is load_task("segmentation").module.encoder


def test_one_linear_layer_tells_the_digits_of_a_speaker_who_was_never_heard(shared_data, monkeypatch):
    monkeypatch.syspath_prepend(RECIPES)
    data, probes = (importlib.import_module(name) for name in ("multimodal_data", "multimodal_probes"))
    model: Any = load_checkpoint(WEIGHTS / "small_multimodal_encoder")[0]
    tokenizer = model.tokenizer("audio")
    said = {
        part: [(s, digit) for p, s, digit in data.spoken_digits(shared_data) if p == part] for part in ("train", "test")
    }
    vectors, labels = {}, {}
    with torch.no_grad():
        for part, pairs in (("train", said["train"][::2]), ("test", said["test"])):
            vectors[part] = probes.embedded(model, "audio", [tokenizer.read(sound) for sound, _ in pairs])
            labels[part] = torch.tensor([digit for _, digit in pairs])
    found = probes.probed(vectors["train"], labels["train"], vectors["test"])
    assert (found == labels["test"]).float().mean() >= 0.9


def test_the_classifier_keeps_its_cards_accuracy_on_the_first_thousand_test_pictures(shared_data):
    import pyarrow.parquet as pq

    task = load_task("classification")
    card = json.loads((WEIGHTS / "classification_cifar10" / "task.json").read_text())["card"]
    rows = pq.read_table(shared_data / "cifar10" / "cifar10_test.parquet").slice(0, 1000).to_pylist()
    samples = [task.read(io.BytesIO(row["image"])) for row in rows]
    predictions = [p for i in range(0, 1000, 250) for p in task.predict(samples[i : i + 250])]
    right = [p.ranked[0][0] == task.classes[row["label"]] for p, row in zip(predictions, rows, strict=True)]
    # 1,000 of 10,000 pictures: three standard errors of a share around 0.8
    assert np.mean(right) == pytest.approx(card["top1"], abs=3 * (0.8 * 0.2 / 1000) ** 0.5)
    assert np.mean(right) >= 0.75


def test_the_segmentation_keeps_its_quality_on_held_out_streets(shared_data, tmp_path):
    import zipfile

    task = load_task("segmentation")
    archives = [zipfile.ZipFile(shared_data / "camvid" / f"camvid_{kind}.zip") for kind in ("images", "masks")]
    names = [name for name in archives[0].namelist() if name.startswith("test/")][::12]
    metrics = task.metrics()
    for name in names:
        prediction = task.predict([task.read(archives[0].read(name))])[0]
        for metric in metrics.values():
            metric.update(prediction, archives[1].read(name.replace(".webp", ".png")))
    assert len(names) >= 18
    assert metrics["mean_iou"].compute() >= 0.36
    assert metrics["pixel_accuracy"].compute() >= 0.68


def test_the_forecaster_keeps_its_cards_scores_on_the_test_months(shared_data, tmp_path):
    import zipfile

    from unimodal.inference.evaluation import measure
    from unimodal.reading.series import open_series

    task = load_task("forecasting")
    card = json.loads((WEIGHTS / "forecasting_ett" / "task.json").read_text())["card"]["scores"]
    archive = zipfile.ZipFile(shared_data / "ett" / "ett_original_csv.zip")
    for name in ("ETTh1", "ETTh2"):
        series = open_series(archive.read(f"{name}.csv"))
        spread = series.values[: 12 * 720].std(0, correction=0)
        task.module.options["units"] = dict(zip(series.names, spread.tolist(), strict=True))
        lines = archive.read(f"{name}.csv").decode().splitlines()
        path = tmp_path / f"{name}.csv"
        path.write_text("\n".join([lines[0], *lines[1 + 16 * 720 - 96 : 1 + 20 * 720]]))
        figures = measure(task, task.labelled(path)[::24]).metrics  # a window a day
        for horizon in ("96", "720"):
            assert figures[f"mse_{horizon}"] == pytest.approx(card[name][horizon]["mse"], rel=0.1)
            assert figures[f"mae_{horizon}"] == pytest.approx(card[name][horizon]["mae"], rel=0.05)
        assert figures["coverage_95"] == pytest.approx(card["coverage"][name]["95%"]["720"], abs=0.02)


def test_the_forecaster_beats_the_last_value_and_the_last_year_on_months_it_never_saw():
    from unimodal.reading.series import open_series

    task = load_task("forecasting")
    series = open_series(next(path for path in task.examples() if "climate" in path.name))
    errors = {"forecast": [], "last value": [], "last year": []}
    for end in range(200, 500, 12):
        past, future = series.values[:end].numpy(), series.values[end : end + 24, 1].numpy()  # sea temperature
        forecast = task.predict([task.read(series.window(0, end))])[0].forecast[:24, 1]
        year = np.tile(past[-12:, 1], 2)
        for name, guess in (("forecast", forecast), ("last value", past[-1, 1]), ("last year", year)):
            errors[name].append(np.abs(future - guess[: len(future)] if np.ndim(guess) else future - guess).mean())
    means = {name: np.mean(values) for name, values in errors.items()}
    assert means["forecast"] < means["last value"]
    assert means["forecast"] < means["last year"]


def test_predictions_are_the_same_at_every_call():
    task = load_task("classification")
    samples = [task.read(example) for example in task.examples()]
    assert samples
    first, second = task.predict(samples), task.predict(samples)
    assert [p.ranked for p in first] == [p.ranked for p in second]
    assert torch.tensor([sum(p for _, p in result.ranked) for result in first]).allclose(torch.ones(len(first)))
