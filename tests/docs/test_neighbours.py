"""docs/neighbours.md: figures of the weights that ship, by a script whose measures and drawings hold."""

import importlib
import io
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unimodal.pretrained import load
from unimodal.recipes.small_multimodal_encoder import small_multimodal_encoder
from unimodal.weights_file import weights_digest


@pytest.fixture
def script(repository, monkeypatch) -> Any:
    """docs/make_neighbours.py, imported as it is when it is run."""
    for folder in ("docs", "recipes"):
        monkeypatch.syspath_prepend(str(repository / folder))
    return importlib.import_module("make_neighbours")


def picture(mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray((np.arange(64).reshape(8, 8) * 900).astype(np.uint16 if mode == "16" else np.uint8)).save(
        buffer, "PNG"
    )
    return buffer.getvalue()


SOURCES: dict[str, Any] = {
    "image": picture(),
    "infrared": picture("16"),
    "xray": picture(),
    "video": np.zeros((5, 6, 8, 3), np.uint8),
    "point_cloud": np.random.default_rng(0).normal(size=(40, 3)),
    "audio": (np.arange(900, dtype=np.int16), 8000),
    "time_series": np.random.default_rng(0).normal(size=(30, 1)),
    "imu": {"time_s": np.arange(9), "acc_x": np.ones(9), "gyro_x": np.arange(9.0)},
    "ct": np.random.default_rng(0).normal(0, 300, (4, 9, 9)),
    "text": "<b> & words",
    "table": {"<age>": 3.14159, "name": None},
    "graph": {
        "nodes": [{"id": i, "kind": f"P {i % 2}"} for i in range(4)],
        "links": [{"source": 0, "target": 1}],
    },
    "hyperspectral": np.random.default_rng(0).uniform(size=(5, 5, 20)),
}


def test_the_page_is_of_the_weights_that_ship_and_has_a_row_for_each_modality(repository):
    text = (repository / "docs" / "neighbours.md").read_text(encoding="utf-8")
    model = load("unimodal:small_multimodal_encoder")
    stale = "run docs/make_neighbours.py (see docs/neighbours.md) and commit the page"
    assert weights_digest(model.state_dict()) in text, stale
    rows = re.findall(r"^\| (\w+) \| .* \| \d+ \| \d+ \| [\d.]+ \| [\d.]+ \| [\d.]+ \|$", text, re.MULTILINE)
    assert sorted(rows) == sorted(model.tokenizers), stale


def test_an_input_of_each_modality_is_drawn(script):
    assert sorted(SOURCES) == sorted(small_multimodal_encoder().kwargs["tokenizers"])
    for modality, source in SOURCES.items():
        drawn = script.drawer(modality, [source])(source)
        assert drawn.startswith("<"), modality
        assert "nan" not in drawn.split("base64")[0], modality
    assert script.drawer("text", [])(SOURCES["text"]) == "<p class='words'>&lt;b&gt; &amp; words</p>"
    assert "<th>&lt;age&gt;</th><td>3.142</td>" in script.drawer("table", [])(SOURCES["table"])
    with pytest.raises(ValueError, match="modality must be one of image, .* not 'smell'"):
        script.drawer("smell", [])


def test_precision_and_chance_are_shares_counted_by_hand(script):
    labels = [0, 0, 1, 0]
    found = [[(1, 0.9), (2, 0.8)], [(0, 0.9), (3, 0.1)], [(0, 0.5), (1, 0.4)], [(2, 0.3), (1, 0.2)]]
    assert script.precision(found, labels) == pytest.approx((1 / 2 + 1 + 0 + 1 / 2) / 4)
    assert script.chance(script.Looked([], labels, 4, False)) == pytest.approx((2 / 3 * 3 + 0) / 4)
    assert script.chance(script.Looked([], [0, 1, 0, 0, 1, 1], 2, True)) == pytest.approx((2 / 4 + 2 / 4) / 2)


def test_copies_are_left_out_and_what_overlaps_is_looked_for_in_training(script):
    one, two, far = np.zeros((2, 2)), np.ones((2, 2)), np.full((2, 2), 7.0)
    data = SimpleNamespace(
        test=[one, two, one.copy()], test_labels=[0, 1, 0], train=[far, far, two], train_labels=[0, 0, -1]
    )
    among = script.looked_at("ct", data)
    assert (len(among.sources), among.labels, among.candidates(0)) == (2, [0, 1], [1])
    apart = script.looked_at("video", data)
    assert (len(apart.sources), apart.labels, apart.candidates(1)) == (3, [0, 1, 0], [2])


def test_the_classes_take_turns_at_being_shown(script):
    labels = [0] * 50 + [1] * 3 + [2]
    shown = [labels[i] for i in script.queries(labels)]
    assert (len(shown), shown.count(2), shown.count(1)) == (10, 1, 3)


def test_a_page_of_real_inputs_is_made(script, shared_data, tmp_path):
    assert script.main(["--data", str(shared_data), "--out", str(tmp_path), "--only", "imu", "--controls", "1"]) == 0
    page = (tmp_path / "imu.html").read_text(encoding="utf-8")
    assert page.count("<figure class='query'>") == 10
    assert page.count("<figure class='same'>") + page.count("<figure class='other'>") == 50
    assert re.search(r"precision@5 \d+\.\d %</b>, random encoder \d+\.\d %, chance 23\.1 %", page)
