"""The conformance matrix: every cell of every tokenizer, and the committed page."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn as nn

from unimodal.__main__ import main
from unimodal.catalog import catalog
from unimodal.conformance import Cell, Row, markdown, matrix
from unimodal.sample import Batch
from unimodal.testing import check_tokenizer
from unimodal.tokenizer_checks import CHECKS, NotPossible, tokenizer_checks
from unimodal.tokenizers.image import Image

NAMES = [name for name in catalog("tokenizers") if catalog("tokenizers").source(name) == "unimodal"]
PAIRS = [(name, title) for name in NAMES for title in CHECKS]


@pytest.fixture(scope="session")
def cells() -> dict[str, dict[str, Any]]:
    return {name: tokenizer_checks(name, catalog("tokenizers")[name]) for name in NAMES}


@pytest.mark.parametrize("name, title", PAIRS, ids=[f"{name}-{title}" for name, title in PAIRS])
def test_no_cell_of_the_matrix_is_red(cells, name, title):
    try:
        cells[name][title]()
    except NotPossible as reason:
        if not str(reason):
            pytest.fail("a dash needs a reason")


def test_the_committed_matrix_names_every_tokenizer_and_has_no_red_cell(repository):
    page = (repository / "docs" / "conformance.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ") and line.count("|") == 10]
    assert [row[0].strip("| ") for row in rows[2:]] == NAMES, "run: unimodal conformance --out docs/conformance.md"
    assert {cell.strip("| ") for row in rows[2:] for cell in row[1:]} <= {"ok", "-"}


def test_the_command_prints_the_matrix_and_writes_it(tmp_path, capsys):
    assert main(["conformance", "image", "--out", str(tmp_path / "page.md")]) == 0
    assert "no red cell" in capsys.readouterr().out
    assert "| image | " + " | ".join(["ok"] * len(CHECKS)) + " |" in (tmp_path / "page.md").read_text()


def test_an_unknown_tokenizer_is_told(capsys):
    assert main(["conformance", "imagge"]) == 2
    assert "did you mean 'image'" in capsys.readouterr().err


class Leaky(Image):
    """An image tokenizer that lets each picture see the mean of its batch."""

    def collate(self, samples) -> Batch:
        batch = super().collate(samples)
        pictures = [picture.float() for picture in batch.data]
        mean = sum(picture.mean() for picture in pictures) / len(pictures)
        return Batch("image", tuple(picture - mean for picture in pictures), batch.records)


class Frozen(Image):
    """An image tokenizer with a parameter that nothing uses."""

    def __init__(self, dim: int, **settings: Any) -> None:
        super().__init__(dim, **settings)
        self.idle = nn.Parameter(torch.zeros(3))


class Forgetful(Image):
    """An image tokenizer whose way back loses the colours."""

    def detokenize(self, tokens) -> Batch:
        batch = super().detokenize(tokens)
        return Batch("image", tuple(torch.zeros_like(picture) for picture in batch.data))


@pytest.mark.parametrize(
    "cls, titles", [(Leaky, ("mixed", "influence")), (Frozen, ("gradient",)), (Forgetful, ("back",))]
)
def test_a_broken_tokenizer_is_found_out(monkeypatch, cls, titles):
    monkeypatch.setitem(catalog("tokenizers")._loaded, "image", cls)
    with pytest.raises(AssertionError) as error:
        check_tokenizer("image", cls)
    for title in titles:
        assert f"{title}:" in str(error.value)


def test_a_tokenizer_of_one_way_gives_a_dash_with_its_reason(monkeypatch):
    monkeypatch.delattr(Image, "detokenize")
    monkeypatch.setattr(Image, "one_way", "its colours are gone", raising=False)
    assert "back" not in check_tokenizer("image", Image)
    row = matrix("image")
    assert row.cells[list(CHECKS).index("back")] == Cell("-", "its colours are gone")
    assert "- image, back: its colours are gone" in markdown([row])


def test_a_red_cell_ends_the_command_with_1(monkeypatch, capsys):
    import unimodal.conformance

    row = Row("image", tuple(Cell("FAILS", "ValueError: no") for _ in CHECKS))
    monkeypatch.setattr(unimodal.conformance, "matrix", lambda name: row)
    assert main(["conformance", "image"]) == 1
    out = capsys.readouterr().out
    assert f"{len(CHECKS)} red cells" in out
    assert "image, encode: ValueError: no" in out


def test_a_tokenizer_with_too_few_examples_is_told():
    few: Any = SimpleNamespace(examples=lambda: [1, 2], variable={})
    with pytest.raises(AssertionError, match=r"examples\(\) gives 2 sources; three"):
        tokenizer_checks("few", few)["encode"]()
