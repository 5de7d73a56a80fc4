"""Panoptic prediction: what is saved is read again; rows and overlays, also of nothing."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from unimodal.data.panoptic_pictures import panoptic_pictures
from unimodal.inference.table import write_table
from unimodal.panoptic_quality import Panoptic
from unimodal.tasks.parts.panoptic_prediction import PanopticPrediction


def prediction(folder: Path, *, found: bool = True) -> PanopticPrediction:
    Image.new("RGB", (60, 40), (100, 100, 100)).save(folder / "scene.png")
    ids = np.zeros((40, 60), np.int64)
    if found:
        ids[:20], ids[25:35, 10:50] = 3, 70000
    segments = Panoptic(ids, {70000: 0, 3: 1} if found else {})
    colours = ((255, 0, 0), (0, 0, 255))
    names = ("cat", "sky")
    return PanopticPrediction("scene.png", segments, names, (True, False), colours, folder / "scene.png", 10**8)


def test_what_is_saved_is_panoptic_json_and_png(tmp_path):
    shown = prediction(tmp_path)
    notes, ids, overlay = shown.save(tmp_path, "result")
    assert [f.name for f in (notes, ids, overlay)] == ["result.panoptic.json", "result.png", "result.overlay.jpg"]
    classes, things, ((picture, target),) = panoptic_pictures(notes)
    assert (classes, things, picture.name) == (("cat", "sky"), (True, False), "scene.png")
    segments = target.read()
    assert np.array_equal(segments.ids, shown.segments.ids)
    assert segments.classes == shown.segments.classes
    with Image.open(ids) as saved:
        assert saved.getpixel((20, 30)) == (70000 % 256, 70000 // 256 % 256, 70000 // 65536)


def test_the_overlay_has_the_classes_colours_and_leaves_void_as_it_is(tmp_path):
    mixed = np.asarray(prediction(tmp_path).overlay()).astype(int)
    assert mixed[38, 5].tolist() == [100, 100, 100]
    assert np.abs(mixed[30, 30] - [178, 50, 50]).max() <= 1
    assert np.abs(mixed[5, 5] - [50, 50, 178]).max() <= 1
    assert np.abs(mixed[20, 5] - 178).max() <= 1, "a line between segments"


def test_rows_have_the_same_columns_when_nothing_was_found(tmp_path):
    found, nothing = prediction(tmp_path).to_json(), prediction(tmp_path, found=False).to_json()
    assert {k: type(v) for k, v in found.items()} == {k: type(v) for k, v in nothing.items()}
    assert found["segments"][0] == {"label": "sky", "thing": False, "share": 0.5, "score": 1.0}
    for rows in ([nothing, found], [found, nothing]):
        write_table(tmp_path / "rows.parquet", lambda rows=rows: rows, first={}, last={})
        assert pq.read_table(tmp_path / "rows.parquet").to_pylist() == rows


def test_nothing_can_be_saved_and_shown(tmp_path):
    nothing = prediction(tmp_path, found=False)
    notes, *_ = nothing.save(tmp_path, "none")
    assert panoptic_pictures(notes)[2][0][1].read().classes == {}
    assert nothing.render()["table"] == nothing.render()["segments"][1] == []


def test_each_segment_is_shown_by_its_class(tmp_path):
    shown = prediction(tmp_path)
    masks = shown.render()["segments"][1]
    assert [name for _, name in masks] == ["sky", "cat"]
    assert np.array_equal(masks[1][0], shown.segments.ids == 70000)
