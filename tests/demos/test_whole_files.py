"""Pictures of answers are written once, whole."""

from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio import processing_utils
from PIL import Image

from unimodal.demos.whole_files import write_whole_files


@pytest.fixture(autouse=True)
def _mended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processing_utils, "save_pil_to_cache", processing_utils.save_pil_to_cache)
    write_whole_files()


@pytest.fixture
def component(page: gr.Blocks, tmp_path: Path) -> Any:
    with page:
        image = gr.Image(format="png")
    image.GRADIO_CACHE = str(tmp_path)
    return image


def test_the_same_picture_of_a_second_answer_does_not_touch_the_file_of_the_first(component: Any, tmp_path: Path):
    picture = Image.new("RGB", (40, 30), (200, 10, 60))
    first = Path(component.postprocess(picture).path)
    with first.open("rb") as being_fetched:
        head = being_fetched.read(20)
        again = Path(component.postprocess(picture.copy()).path)
        whole = head + being_fetched.read()
    assert again == first
    assert whole == first.read_bytes()
    with Image.open(first) as read:
        assert read.size == (40, 30)
    inode = first.stat().st_ino
    component.postprocess(picture)
    assert first.stat().st_ino == inode
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == [first.name]


def test_another_picture_has_another_file(component: Any):
    one, other = (component.postprocess(Image.new("RGB", (8, 8), (shade, 0, 0))).path for shade in (10, 20))
    assert one != other
