"""COCO's JSON: a tiny set, every refusal, and a few pictures of real ones."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unimodal.data.coco_pictures import coco_pictures
from unimodal.errors import InputError
from unimodal.run_lengths import boxes_of, decode


def tiny() -> dict[str, Any]:
    square = [1.0, 2.0, 5.0, 2.0, 5.0, 4.0, 1.0, 4.0]
    runs = {"size": [6, 8], "counts": [40, 8]}
    return {
        "images": [
            {"id": 7, "file_name": "a.png", "height": 6, "width": 8},
            {"id": 9, "file_name": "b.png", "height": 6, "width": 8},
        ],
        "categories": [{"id": 3, "name": "cat"}, {"id": 90, "name": "dog"}],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 90, "bbox": [1, 2, 4, 2], "area": 7.5, "segmentation": [square]},
            {"id": 2, "image_id": 7, "category_id": 3, "bbox": [6, 0, 2, 6], "iscrowd": 1, "segmentation": runs},
        ],
    }


def written(folder: Path, content: Any, *, name: str = "set.json", pictures: str = "images") -> Path:
    (folder / pictures).mkdir(exist_ok=True)
    for stem in ("a", "b"):
        Image.new("RGB", (8, 6)).save(folder / pictures / f"{stem}.png")
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder / name


@pytest.mark.parametrize("pictures", ["images", "."])
def test_pictures_have_their_objects_in_edges_and_class_indices(tmp_path, pictures):
    pytest.importorskip("pycocotools")
    written(tmp_path, tiny(), pictures=pictures)
    classes, ((file, objects), (_, none)) = coco_pictures(tmp_path, masks=True)
    assert classes == ("cat", "dog")
    assert file.name == "a.png"
    assert objects.boxes.tolist() == [[1, 2, 5, 4], [6, 0, 8, 6]]
    assert objects.labels.tolist() == [1, 0]
    assert np.asarray(objects.areas).tolist() == [7.5, 8]
    assert np.asarray(objects.crowds).tolist() == [False, True]
    assert objects.size == (6, 8)
    square, crowd = (decode(mask) for mask in objects.masks or ())
    assert (square.sum(), square[2:4, 1:5].all()) == (8, True)
    assert crowd[4:, 6].all()
    assert crowd[:, 7].all()
    assert (len(none), none.boxes.shape) == (0, (0, 4))


def test_the_order_of_classes_may_be_given(tmp_path):
    classes, pairs = coco_pictures(written(tmp_path, tiny()), ("dog", "bird", "cat"))
    assert classes == ("dog", "bird", "cat")
    assert pairs[0][1].labels.tolist() == [0, 2]
    assert pairs[0][1].masks is None


def changed(table: str, row: int, **fields: Any) -> dict[str, Any]:
    content = tiny()
    content[table][row] |= fields
    return content


@pytest.mark.parametrize(
    "content, words",
    [
        ("{", "set.json: is no JSON file that can be read"),
        ("[]", "is not in COCO's layout; an object with the lists images, categories, annotations is expected"),
        ({**tiny(), "categories": ["cat"]}, "is not in COCO's layout"),
        ({**tiny(), "images": [], "annotations": []}, "has no pictures"),
        (changed("images", 0, file_name="c.png"), "names the picture c.png, which is not there; .*images.c.png is exp"),
        (changed("images", 0, height="6"), "has picture 7 with height = '6'; a whole number is expected"),
        (changed("images", 1, id=7), "has the picture 7 twice"),
        (changed("images", 1, width=0), "or without pixels"),
        (changed("categories", 1, name="cat"), "has two categories of one id or name"),
        (changed("categories", 1, name="cow"), "has the category 'cow', which is no class; the classes are cat, dog"),
        (changed("annotations", 1, image_id=8), "has an annotation of the picture 8; it is not among the images"),
        (changed("annotations", 1, category_id=4), "annotation 2 has the category 4; it is not among the categories"),
        (changed("annotations", 0, bbox=[1, 2, 3]), r"annotation 1 has the box \[1, 2, 3\]; \[left, upper, width"),
        (changed("annotations", 0, bbox=[1, 2, -3, 4]), "annotation 1 has the box"),
        (changed("annotations", 0, bbox=[1, 2, float("nan"), 4]), "annotation 1 has the box"),
        (changed("annotations", 0, segmentation=None), "annotation 1 has a segmentation that is neither polygons"),
        (
            changed("annotations", 1, segmentation={"size": [6, 8], "counts": [40]}),
            "annotation 2 has run lengths of 40",
        ),
    ],
)
def test_a_malformed_file_is_one_error_that_names_it(tmp_path, content, words):
    with pytest.raises(InputError, match=words) as error:
        coco_pictures(written(tmp_path, content), ("cat", "dog"), masks=True)
    assert error.value.source == str(tmp_path / "set.json")


def test_a_missing_file_and_a_folder_with_several_are_refused(tmp_path):
    with pytest.raises(InputError, match="gone: does not exist"):
        coco_pictures(tmp_path / "gone")
    written(tmp_path, tiny())
    written(tmp_path, tiny(), name="other.json")
    with pytest.raises(InputError, match="has 2 JSON files; give the JSON file, or a folder with one"):
        coco_pictures(tmp_path)


def test_real_pictures_have_masks_in_their_boxes(tmp_path, shared_data):
    pytest.importorskip("pycocotools")
    with zipfile.ZipFile(shared_data / "coco_small" / "coco_small_annotations.zip") as archive:
        content = json.loads(archive.read("coco_small.json"))
    chosen = [p for p in content["images"] if p["has_instances"]][:40]
    numbers = {p["id"] for p in chosen}
    content["images"] = [p | {"file_name": Path(p["file"]).name} for p in chosen]
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] in numbers]
    for picture in content["images"]:
        (tmp_path / picture["file_name"]).touch()
    (tmp_path / "set.json").write_text(json.dumps(content))
    classes, pairs = coco_pictures(tmp_path, masks=True)
    assert (len(classes), len(pairs), sum(len(o) for _, o in pairs)) == (80, 40, len(content["annotations"]))
    off = np.concatenate([boxes_of(objects.masks or ()) - objects.boxes for _, objects in pairs])
    assert off[:, :2].min() >= -1, "a mask is inside of its box, to the whole pixel"
    assert off[:, 2:].max() <= 1
    assert np.median(np.abs(off)) < 0.5, "and fills it, but for spikes thinner than a pixel"


def test_real_boxes_lie_in_their_pictures(tmp_path, shared_data):
    rows = json.loads((shared_data / "bccd" / "bccd_annotations.json").read_text())[:5]
    names, notes = ("RBC", "WBC", "Platelets"), []
    with zipfile.ZipFile(shared_data / "bccd" / "bccd_images.zip") as archive:
        for number, row in enumerate(rows):
            Image.open(io.BytesIO(archive.read(row["file"]))).save(tmp_path / row["file"])
            for thing in row["objects"]:
                left, upper, right, lower = thing["box"]
                box = [left, upper, right - left, lower - upper]
                notes.append({"image_id": number, "category_id": names.index(thing["label"]), "bbox": box})
    images = [{"id": i, "file_name": r["file"], "height": r["height"], "width": r["width"]} for i, r in enumerate(rows)]
    categories = [{"id": i, "name": name} for i, name in enumerate(names)]
    (tmp_path / "set.json").write_text(json.dumps({"images": images, "categories": categories, "annotations": notes}))
    _, pairs = coco_pictures(tmp_path, names)
    for (file, objects), row in zip(pairs, rows, strict=True):
        assert objects.boxes.tolist() == [thing["box"] for thing in row["objects"]]
        with Image.open(file) as picture:
            assert objects.size == (picture.height, picture.width)
        assert (objects.boxes[:, 2:] <= (objects.size[1], objects.size[0])).all()
