"""Labelled pictures on disk: each layout that is read, and each that is refused with a reason."""

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from unimodal.data.labelled import labelled_pictures, masked_pictures
from unimodal.errors import InputError


def png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 3), "red").save(file, "PNG")
    return file.getvalue()


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png())


def parquet(path: Path, **columns) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def test_a_folder_has_a_class_a_sub_folder_and_hidden_things_are_none(tmp_path):
    touch(tmp_path / "b/2.png", tmp_path / "b/deep/1.JPG", tmp_path / "a/1.webp", tmp_path / "loose.png")
    touch(tmp_path / ".cache/1.png", tmp_path / "a/.hidden.png", tmp_path / "a/notes.txt")
    pairs = labelled_pictures(tmp_path, ())
    assert [(str(p.relative_to(tmp_path)), c) for p, c in pairs] == [
        ("a/1.webp", "a"),
        ("b/2.png", "b"),
        ("b/deep/1.JPG", "b"),
    ]


def test_a_csv_table_has_paths_beside_it_and_names_or_numbers(tmp_path):
    table = tmp_path / "set.csv"
    table.write_text("image,label\nx/1.png,cat\nx/2.png,1\nx/3.png,7\n", encoding="utf-8-sig")
    assert labelled_pictures(table, ("dog", "cat")) == [
        (tmp_path / "x/1.png", "cat"),
        (tmp_path / "x/2.png", "cat"),
        (tmp_path / "x/3.png", "7"),
    ]


def test_a_parquet_table_has_paths_or_encoded_bytes_or_both(tmp_path):
    both = [{"bytes": png(), "path": None}, {"bytes": None, "path": "1.png"}]
    pairs = labelled_pictures(parquet(tmp_path / "a.parquet", image=both, label=[0, -1]), ("dog", "cat"))
    assert Image.open(pairs[0][0]).size == (4, 3)
    assert pairs[0][0].name == "a.parquet row 0"
    assert pairs[1][0] == tmp_path / "1.png"
    assert [label for _, label in pairs] == ["dog", "-1"], "a negative number is no index"
    encoded = labelled_pictures(parquet(tmp_path / "b.parquet", image=[png(), None], label=["x", "y"]), ())
    assert encoded[0][0].getvalue() == png()
    assert encoded[1][0].getvalue() == b"", "a row without a picture is an error of that row alone"


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("gone.csv", None, "gone.csv: does not exist"),
        ("empty.csv", "image,label\n", "has no rows"),
        ("other.csv", "picture,label\n1.png,a\n", r"lacks a column \(found picture, label\); expected: image, label"),
        ("set.txt", "image,label\n", r"is neither a folder nor a table \(.txt\); CSV or Parquet"),
        ("set.parquet", "no parquet", "is no Parquet file that can be read"),
        ("label.csv", "image,label\n1.png,a\n2.png,\n", "label.csv row 1: has no label"),
    ],
)
def test_what_is_no_labelled_table_is_refused_with_the_reason(name, content, words, tmp_path):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=words):
        labelled_pictures(tmp_path / name, ())


def test_a_csv_table_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "set.csv").write_bytes("image,label\nmünze.png,a\n".encode("latin-1"))
    with pytest.raises(InputError, match="is no CSV file that can be read"):
        labelled_pictures(tmp_path / "set.csv", ())


def test_a_folder_without_sub_folders_of_pictures_is_refused(tmp_path):
    touch(tmp_path / "1.png")
    with pytest.raises(InputError, match="has no pictures in sub-folders; one sub-folder a class is expected"):
        labelled_pictures(tmp_path, ())


def test_masks_lie_beside_pictures_under_the_same_name(tmp_path):
    touch(tmp_path / "images/a.jpg", tmp_path / "images/.a.jpg", tmp_path / "masks/a.png")
    assert masked_pictures(tmp_path) == [(tmp_path / "images/a.jpg", tmp_path / "masks/a.png")]


def test_masks_come_in_tables_too(tmp_path):
    ((picture, mask),) = masked_pictures(parquet(tmp_path / "a.parquet", image=[png()], mask=[png()]))
    assert Image.open(picture).size == Image.open(mask).size == (4, 3)


def test_a_picture_without_a_mask_is_named(tmp_path):
    touch(tmp_path / "images/a.jpg", tmp_path / "images/b.jpg", tmp_path / "masks/a.png")
    with pytest.raises(InputError, match="b.jpg: has no mask; .*masks/b.png is expected"):
        masked_pictures(tmp_path)


def test_a_folder_without_an_images_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no pictures in images/; images/NAME.jpg with masks/NAME.png"):
        masked_pictures(tmp_path)
