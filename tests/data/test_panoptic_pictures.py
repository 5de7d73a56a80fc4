"""Panoptic JSON and PNG: a tiny set and every refusal."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unimodal.data.panoptic_pictures import panoptic_pictures
from unimodal.errors import InputError

IDS = np.array([[0, 70000, 70000], [5, 5, 256]])


def tiny() -> dict[str, Any]:
    segments = [
        {"id": 70000, "category_id": 1},
        {"id": 5, "category_id": 2},
        {"id": 256, "category_id": 1, "iscrowd": 1},
    ]
    return {
        "images": [{"id": 7, "file_name": "a.jpg", "height": 2, "width": 3}],
        "categories": [{"id": 1, "name": "cat", "isthing": 1}, {"id": 2, "name": "sky", "isthing": 0}],
        "annotations": [{"image_id": 7, "file_name": "a.png", "segments_info": segments}],
    }


def written(folder: Path, content: dict[str, Any], ids: np.ndarray = IDS, mode: str = "RGB") -> Path:
    (folder / "panoptic").mkdir()
    Image.new("RGB", (3, 2)).save(folder / "a.jpg")
    colours = np.stack([ids % 256, ids // 256 % 256, ids // 65536], -1).astype(np.uint8)
    Image.fromarray(colours).convert(mode).save(folder / "panoptic" / "a.png")
    (folder / "panoptic.json").write_text(json.dumps(content))
    return folder / "panoptic.json"


def test_colours_are_segments_with_a_class_each(tmp_path):
    classes, things, ((picture, target),) = panoptic_pictures(written(tmp_path, tiny()))
    assert (classes, things, picture.name) == (("cat", "sky"), (True, False), "a.jpg")
    segments = target.read()
    assert np.array_equal(segments.ids, IDS)
    assert segments.classes == {70000: 0, 5: 1, 256: 0}
    assert segments.crowds == {256}


def test_the_order_of_classes_may_be_given(tmp_path):
    _, things, ((_, target),) = panoptic_pictures(written(tmp_path, tiny()).parent, ("sky", "cat"))
    assert things == (False, True)
    assert target.classes == {70000: 1, 5: 0, 256: 1}


def segment(**fields: Any) -> dict[str, Any]:
    content = tiny()
    content["annotations"][0]["segments_info"][0] |= fields
    return content


def annotation(**fields: Any) -> dict[str, Any]:
    content = tiny()
    content["annotations"][0] |= fields
    return content


@pytest.mark.parametrize(
    "content, words",
    [
        (annotation(segments_info=None), "picture 7 has no file_name or no segments_info; panoptic segments are exp"),
        (annotation(file_name="b.png"), "names the segments b.png, which are not there; .*b.png is expected"),
        (segment(id=0), "a.png has the segment 0; one id each in 1"),
        (segment(id=5), "a.png has the segment 5"),
        (segment(category_id=3), "a.png has a segment of the category 3; it is not among the categories"),
    ],
)
def test_a_malformed_list_is_one_error_that_names_the_file(tmp_path, content, words):
    with pytest.raises(InputError, match=words) as error:
        panoptic_pictures(written(tmp_path, content))
    assert error.value.source == str(tmp_path / "panoptic.json")


@pytest.mark.parametrize(
    "ids, mode, words",
    [
        (np.where(IDS == 5, 6, IDS), "RGB", r"has not the segments that are listed, as to \[5, 6\]"),
        (IDS.T, "RGB", r"has \(3, 2\) rows and columns; \(2, 3\) are expected"),
        (IDS, "L", "is a picture of mode L; colours R"),
    ],
)
def test_a_png_of_other_segments_is_refused(tmp_path, ids, mode, words):
    _, _, ((_, target),) = panoptic_pictures(written(tmp_path, tiny(), ids, mode))
    with pytest.raises(InputError, match=words):
        target.read()


def test_a_damaged_png_is_refused(tmp_path):
    _, _, ((_, target),) = panoptic_pictures(written(tmp_path, tiny()))
    target.file.write_bytes(b"no picture")
    with pytest.raises(InputError, match="cannot be read as a picture of segments"):
        target.read()
