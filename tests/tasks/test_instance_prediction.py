"""Instance prediction: what is saved is read again, by us and by pycocotools; rows and overlays, also of nothing."""

import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from unimodal.data.coco_pictures import coco_pictures
from unimodal.inference.table import write_table
from unimodal.instances import Instances
from unimodal.run_lengths import boxes_of, decode, encode
from unimodal.tasks.parts.instance_prediction import InstancePrediction

pytest.importorskip("pycocotools")

CLASSES, COLOURS = ("cat", "dog"), ((255, 0, 0), (0, 0, 255))


def prediction(folder: Path, *, masks: bool = True, count: int = 2) -> InstancePrediction:
    Image.new("RGB", (60, 40), (100, 100, 100)).save(folder / "scene.png")
    drawn = np.zeros((2, 40, 60), bool)
    drawn[0, 5:20, 10:30] = drawn[1, 10:35, 20:50] = True
    runs = [encode(mask) for mask in drawn][:count]
    scores, labels = np.array([0.25, 0.75])[:count], np.array([0, 1])[:count]
    objects = Instances((40, 60), boxes_of(runs), labels, scores, runs if masks else None)
    return InstancePrediction("scene.png", objects, CLASSES, COLOURS, folder / "scene.png", 10**8)


@pytest.mark.parametrize("masks", [True, False])
def test_what_is_saved_is_cocos_json_surest_first(tmp_path, masks):
    file, overlay = prediction(tmp_path, masks=masks).save(tmp_path, "result")
    assert (file.name, overlay.name) == ("result.coco.json", "result.overlay.jpg")
    classes, ((picture, objects),) = coco_pictures(file, masks=masks)
    assert (classes, picture) == (CLASSES, tmp_path / "scene.png")
    assert objects.labels.tolist() == [1, 0]
    assert objects.boxes.tolist() == [[20, 10, 50, 35], [10, 5, 30, 20]]
    assert np.asarray(objects.areas).tolist() == [750, 300]
    content = json.loads(file.read_text())
    assert [note["score"] for note in content["annotations"]] == [0.75, 0.25]


def test_pycocotools_reads_the_masks(tmp_path):
    from pycocotools.coco import COCO

    shown = prediction(tmp_path)
    with contextlib.redirect_stdout(io.StringIO()):
        coco: Any = COCO(str(shown.save(tmp_path, "result")[0]))
        coco.loadRes(coco.dataset["annotations"])
    runs = coco.annToRLE(coco.loadAnns([1])[0])
    assert runs["counts"] == list(shown.objects.masks or ())[1]["counts"]


def test_the_overlay_has_each_objects_colour_the_surer_one_in_front(tmp_path):
    mixed = np.asarray(prediction(tmp_path).overlay()).astype(int)
    assert mixed[38, 5].tolist() == [100, 100, 100]
    assert np.abs(mixed[18, 13] - [178, 50, 50]).max() <= 1
    assert np.abs(mixed[30, 45] - [50, 50, 178]).max() <= 1
    assert mixed[34, 49].tolist() == [0, 0, 255], "the box's edge"
    boxes = np.asarray(prediction(tmp_path, masks=False).overlay())
    assert boxes[30, 45].tolist() == [100, 100, 100]
    assert boxes[34, 49].tolist() == [0, 0, 255]


def test_rows_have_the_same_columns_when_nothing_was_found(tmp_path):
    found, nothing = prediction(tmp_path).to_json(), prediction(tmp_path, count=0).to_json()
    assert {k: type(v) for k, v in found.items()} == {k: type(v) for k, v in nothing.items()}
    assert found["objects"][0] == {
        "label": "dog",
        "score": 0.75,
        "left": 20,
        "upper": 10,
        "right": 50,
        "lower": 35,
    }
    for rows in ([nothing, found], [found, nothing]):
        write_table(tmp_path / "rows.parquet", lambda rows=rows: rows, first={}, last={})
        assert pq.read_table(tmp_path / "rows.parquet").to_pylist() == rows


def test_nothing_can_be_saved_and_shown(tmp_path):
    nothing = prediction(tmp_path, count=0)
    file, overlay = nothing.save(tmp_path, "none")
    assert len(coco_pictures(file, masks=True)[1][0][1]) == 0
    with Image.open(overlay) as saved:
        assert saved.size == (60, 40)
    assert nothing.render()["table"] == nothing.render()["segments"][1] == []


def test_masks_are_shown_and_frames_where_there_are_boxes_alone(tmp_path):
    shown = prediction(tmp_path)
    picture, ((first, name), _) = shown.render()["segments"]
    assert (picture.size, name) == ((60, 40), "dog")
    assert np.array_equal(first, decode(list(shown.objects.masks or ())[1]))
    boxes = replace(shown, objects=replace(shown.objects, masks=None))
    frame = boxes.render()["segments"][1][0][0]
    assert frame[10, 20]
    assert not frame[20, 30]
    assert frame.dtype == bool
