"""Viewers: what a person is shown is what the prediction says."""

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from unimodal.demos.viewers import LONGEST_SIDE_PX, hint, input_component, opened, viewer
from unimodal.task import OUTPUTS

pytestmark = pytest.mark.usefixtures("page")


@pytest.mark.parametrize("kind", OUTPUTS)
def test_every_kind_of_output_has_a_viewer(kind):
    assert viewer(kind).component


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kind must be an output that a task can show, not 'smell'"):
        viewer("smell")


def test_segments_are_shown_at_screen_size_largest_first():
    picture = Image.new("RGB", (4000, 1000), "white")
    left = np.zeros((1000, 4000), bool)
    left[:, :1000] = True
    one = viewer("segments")
    shown, masks = one.value((picture, [(left, "left"), (~left, "right"), (left & ~left, "none")]))
    assert shown.shape == (256, LONGEST_SIDE_PX, 3)
    assert [name for _, name in masks] == ["right", "left"], "largest first, empty ones left out"
    assert (masks[1][0] > 0).mean() == pytest.approx(0.25)
    assert (masks[0][0] > 0).sum() + (masks[1][0] > 0).sum() == 256 * LONGEST_SIDE_PX


def test_a_small_picture_is_not_enlarged():
    one = viewer("segments")
    shown, masks = one.value((Image.new("L", (5, 3)), [(np.ones((3, 5), bool), "all")]))
    assert shown.shape == (3, 5, 3)
    assert masks[0][0].shape == (3, 5)


def test_a_table_keeps_its_columns_and_rounds_for_the_eye():
    one = viewer("table")
    rows = [{"name": "a", "score": 0.123456789, "count": 3}, {"name": "b", "score": 2.0, "count": 123456}]
    shown = [["a", 0.123, 3], ["b", 2.0, 123456]]
    assert one.value(rows) == {"headers": ["name", "score", "count"], "data": shown}
    assert one.value([]) == {"headers": [], "data": []}


@pytest.mark.parametrize(
    ("column", "shown"),
    [
        ([101325.372, 101325.448, 101325.4], [101325.372, 101325.448, 101325.4]),  # what differs is behind the point
        ([1e-5 / 3, 2e-5 / 3], [3.333e-6, 6.667e-6]),
        ([1 / 3, 1 / 3], [0.3333, 0.3333]),
        ([1234567.89, -1234567.89], [1234568.0, -1234568.0]),
        ([0.0, float("inf")], [0.0, float("inf")]),
    ],
)
def test_a_column_has_four_digits_of_what_differs_in_it(column, shown):
    told = viewer("table").value([{"x": value} for value in column])["data"]
    assert [row[0] for row in told] == pytest.approx(shown, rel=0, abs=5e-10)


def test_what_a_table_over_time_looks_like_is_said_where_a_newcomer_cannot_know():
    assert "A row for each moment" in hint("variates")
    assert hint("image") == ""


def test_a_picture_is_taken_by_upload_camera_or_paste_and_other_files_by_upload():
    assert input_component("image").sources == ["upload", "webcam", "clipboard"]
    assert isinstance(input_component("audio"), gr.File)
    assert isinstance(input_component("variates"), gr.File)
    assert input_component("variates").label == "Your table (CSV, TSV or Parquet)"


def test_an_upload_is_read_from_memory_under_its_own_name(tmp_path):
    path = tmp_path / "3f2a.jpg"
    path.write_bytes(b"some bytes")
    source = opened({"path": str(path), "orig_name": "holiday.jpg"}, "image")
    path.unlink()
    assert (source.read(), source.name) == (b"some bytes", "holiday.jpg")


def test_a_file_of_another_modality_is_handed_on_as_a_path(tmp_path):
    assert opened({"path": str(tmp_path / "a.wav"), "orig_name": "a.wav"}, "audio") == tmp_path / "a.wav"


@pytest.mark.parametrize("payload", [None, {}, {"path": None, "url": "data:image/png;base64,"}])
def test_nothing_uploaded_is_a_clear_message(payload):
    with pytest.raises(gr.Error, match="Choose a file first"):
        opened(payload, "image")
