"""The page about transfer: it is not stale, and its intervals are what they say."""

import math
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
sys.path.insert(0, str(DOCS))

from make_transfer import PAGE, PLOT, gain, newest, page, plot  # noqa: E402  # pyright: ignore[reportMissingImports]


def row(arm: str, seed: int, items: list[float], metric: str = "accuracy") -> dict:
    return {
        "problem": "p",
        "arm": arm,
        "seed": seed,
        "metric": metric,
        "items": items,
        "score": sum(items) / len(items),
    }


def test_the_page_and_its_plot_are_those_of_the_newest_results():
    rows = newest()
    assert PAGE.read_text(encoding="utf-8") == page(rows), "make docs"
    assert PLOT.read_text(encoding="utf-8") == plot(rows), "make docs"


def test_every_problem_has_its_controls_and_three_seeds():
    rows = newest()
    for problem in {row["problem"] for row in rows}:
        for arm in ("random", "scratch", "joint", "pictures"):
            seeds = {row["seed"] for row in rows if row["problem"] == problem and row["arm"] == arm}
            assert len(seeds) >= 3, (problem, arm)
    assert all(row["trained_parameters"] > 0 and row["versions"] and row["commit"] for row in rows)


def test_a_gain_is_the_mean_difference_with_both_spreads():
    rows = [row("joint", 0, [1, 1, 1, 0]), row("joint", 1, [1, 1, 0, 0]), row("joint", 2, [1, 1, 1, 1])]
    rows += [row("random", s, [1, 0, 0, 0]) for s in range(3)]
    by_seed = [50.0, 25.0, 75.0]
    by_item = [0.0, 100.0, 200 / 3, 100 / 3]
    centre = sum(by_seed) / 3
    seeds = sum((v - centre) ** 2 for v in by_seed) / 2
    items = sum((v - centre) ** 2 for v in by_item) / 3
    found = gain(rows, "p", "joint")
    assert found is not None
    assert found[0] == pytest.approx(centre)
    assert found[1] == pytest.approx(math.sqrt(4.303**2 * seeds / 3 + 1.96**2 * items / 4))


def test_a_smaller_error_is_a_gain_in_percent_of_the_control():
    rows = [row("joint", s, [0.5, 0.4], "mse") for s in range(3)] + [
        row("random", s, [1.0, 0.8], "mse") for s in range(3)
    ]
    found = gain(rows, "p", "joint")
    assert found is not None
    assert found[0] == pytest.approx(50.0)


def test_an_arm_that_is_not_there_has_no_gain():
    assert gain([row("random", 0, [1.0])], "p", "joint") is None
