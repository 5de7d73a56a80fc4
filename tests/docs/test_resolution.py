"""docs/resolution.md and its plot show the newest committed result."""

import runpy
import xml.etree.ElementTree as xml

import pytest


@pytest.fixture
def script(repository) -> dict:
    return runpy.run_path(str(repository / "docs" / "make_resolution.py"))


def row(candidate: str, seed: int, *shares: float) -> dict:
    about = {"cpu": "a cpu", "date": "2026-01-02", "commit": "abc", "versions": {"torch": "2.11"}, "steps": 7}
    read = dict(zip(("12", "16", "20"), shares, strict=True))
    return {**about, "trained_px": [16], "digits": 9, "candidate": candidate, "seed": seed, "accuracy": read}


ROWS = [
    row("three sizes", 0, 10.0, 90.0, 80.0),
    row("three sizes", 1, 20.0, 92.0, 82.0),
    row("one size, interpolated table", 0, 15.0, 40.0, 60.0),
    row("one size, interpolated table", 1, 15.0, 50.0, 66.0),
]


def test_the_committed_page_and_plot_are_the_generated_ones(repository, script):
    rows, docs = script["newest"](), repository / "docs"
    stale = "is stale: run make docs and commit it"
    assert (docs / "resolution.md").read_text(encoding="utf-8") == script["page"](rows), f"docs/resolution.md {stale}"
    drawn = (docs / "images" / "resolution.svg").read_text(encoding="utf-8")
    assert drawn == script["plot"](rows), f"docs/images/resolution.svg {stale}"


def test_seeds_are_averaged_and_sizes_that_none_was_trained_at_compared(script):
    text = script["page"](ROWS)
    assert "| three sizes | 2 | 7 | 15.0 (10.0 - 20.0) | 91.0 (90.0 - 92.0) | 81.0 (80.0 - 82.0) |" in text
    assert "| one size, interpolated table | +0.0 | -18.0 |" in text
    assert "9 handwritten test digits" in text


def test_the_plot_is_a_picture_with_a_line_for_each_candidate_of_each_panel(script):
    picture = xml.fromstring(script["plot"](ROWS))
    lines = [shape for shape in picture if shape.tag.endswith("polyline")]
    assert len(lines) == 3
    heights = [float(point.split(",")[1]) for point in lines[0].attrib["points"].split()]
    assert heights[1] < heights[2] < heights[0], "higher is better"


def test_without_a_result_the_command_that_makes_one_is_named(script, tmp_path):
    with pytest.raises(FileNotFoundError, match="python -m benchmarks.resformer --save"):
        script["newest"](tmp_path)
