"""docs/benchmarks.md shows the committed results, the newest of each benchmark and machine."""

import json
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
page = runpy.run_path(str(ROOT / "docs" / "make_benchmarks.py"))["page"]


@pytest.fixture
def results(tmp_path):
    """A checkout with one script, and a function that writes a result of it."""
    script = tmp_path / "benchmarks" / "speed.py"
    script.parent.mkdir()
    script.write_text('"""Claim: it is fast.\n\nHow, is told here.\n"""\n')

    def write(machine: str, date: str, ratio: float) -> Path:
        row = {"machine": machine, "benchmark": "speed-small", "date": date, "base": "old", "threads": 1}
        ratios = {"new": {"median": ratio, "q1": 0.5, "q3": 3.0}, "old": {"median": 1.0, "q1": 1.0, "q3": 1.0}}
        rows = [{**row, "candidate": name, "ratio": figures} for name, figures in ratios.items()]
        path = tmp_path / "benchmarks" / "results" / machine / f"{date}-speed-small.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(rows))
        return tmp_path

    return write


def test_the_committed_page_is_the_generated_one():
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert text == page(), "docs/benchmarks.md is stale: run make docs and commit it"


def test_a_result_is_shown_with_its_claim_its_command_and_what_it_was_measured_on(results):
    text = page(results("a-cpu", "2026-01-02", 2.0))
    assert "## speed-small, a-cpu\n\nClaim: it is fast.\n\n    python -m benchmarks.speed\n" in text
    assert "base old; threads 1; date 2026-01-02.\n" in text
    assert "| candidate | ratio |\n| --- | --- |\n| new | 2 (0.5 - 3) |\n| old | 1 (1 - 1) |\n" in text


def test_the_newest_result_of_each_machine_is_shown(results):
    results("a-cpu", "2026-01-02", 2.0)
    results("a-cpu", "2026-01-10", 1.5)
    text = page(results("b-cpu", "2025-12-31", 0.75))
    assert "2026-01-02" not in text
    assert text.index("1.5 (0.5 - 3)") < text.index("## speed-small, b-cpu") < text.index("0.75 (0.5 - 3)")


def test_goals_take_the_newest_figures_of_both_bases_and_say_what_was_not_measured(tmp_path):
    def write(folder: str, name: str, rows: list[dict]) -> None:
        path = tmp_path / "benchmarks" / "results" / folder / f"2026-01-02-{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(rows))

    def row(candidate: str, ms: float) -> dict:
        figures = {"cpu_ms": {"median": ms, "q1": ms, "q3": ms}, "ratio": {"median": 8.0 / ms, "q1": 1.0, "q3": 1.0}}
        return {"candidate": candidate, "base": "padded, with mask", "date": "2026-01-02", **figures}

    write("a-cpu", "varlen_attention", [row("padded, with mask", 8.0), row("packed", 2.0), row("nested jagged", 16.0)])
    variant = {"architecture": "sm_90", "weights": "sigmoid", "setting": "plain", "spilled_bytes": 0}
    sizes = [{"registers": 96, "shared_bytes": 65536}, {"registers": 168, "shared_bytes": 131072}]
    write("ahead-of-time", "rule-kernels", [variant | size for size in sizes])
    text = page(tmp_path)
    assert "| G5 | packed attention | padded, with mask | 2.4 | 4.00 | a-cpu | 2026-01-02 |" in text
    assert "| G5 | the same | nested jagged | 12 | 8.00 (missed) | a-cpu | 2026-01-02 |" in text
    assert "| G1 | ViT-B/16, float32 | timm | 1.25 | not measured |  |  |" in text
    assert (
        "| G7 | sigmoid, H100 |  |  | not measured; 2 variants compiled for sm_90: 96 to 168 registers, up to 128 kB "
        "of shared memory, 0 with spills |  |  |"
    ) in text
    assert "## rule-kernels" not in text
