"""docs/systems.md says what the sources and the tests say, today."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
page = runpy.run_path(str(ROOT / "docs" / "make_systems.py"))["page"]


@pytest.fixture
def small(tmp_path):
    """A checkout with one norm, cited over two lines, and two tests of it."""
    for name, text in {
        "unimodal/norms/plain.py": '"""Plain: nothing.\n\nSource: Doe et al. 2020, arXiv:2001.00001,\neq. 2.\n"""\n',
        "unimodal/norms/unsourced.py": '"""Nobody said where this is from."""\n',
        "tests/norms/test_plain.py": (
            "@pytest.mark.parity\ndef test_it_equals_the_peer():\n    pass\n\n\ndef test_a_row_is_kept():\n    pass\n"
        ),
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def test_the_committed_page_is_the_generated_one():
    text = (ROOT / "docs" / "systems.md").read_text(encoding="utf-8")
    assert text == page(), "docs/systems.md is stale: run make docs and commit it"


def test_a_paper_leads_to_its_file_its_test_and_what_the_test_says(small):
    text = page(small)
    paper = "[arXiv:2001.00001](https://arxiv.org/abs/2001.00001)"
    assert f"| {paper} | Doe et al. 2020 | [unimodal/norms/plain.py](#unimodalnormsplainpy) |" in text
    assert f"Plain: nothing.\n\nSource: Doe et al. 2020, {paper}, eq. 2.\n" in text
    assert (
        "`tests/norms/test_plain.py`:\n\n- it equals the peer *(beside an installed reference)*\n- a row is kept"
        in text
    )


def test_a_file_without_source_is_not_a_system(small):
    assert "unsourced" not in page(small)


def test_a_renamed_test_makes_the_page_another(small):
    before, test = page(small), small / "tests/norms/test_plain.py"
    test.write_text(test.read_text().replace("a_row_is_kept", "a_row_is_lost"))
    assert page(small) == before.replace("- a row is kept", "- a row is lost")


def test_a_file_without_a_test_of_its_own_names_the_tests_of_what_uses_it(small):
    for name, text in {
        "unimodal/helper.py": '"""Helper.\n\nSource: Roe 2019, arXiv:1901.00001.\n"""\n',
        "unimodal/norms/plain.py": (small / "unimodal/norms/plain.py").read_text() + "from unimodal.helper import x\n",
        "unimodal/lonely.py": '"""Lonely.\n\nSource: Roe 2018, arXiv:1801.00001.\n"""\n',
    }.items():
        (small / name).write_text(text, encoding="utf-8")
    text = page(small)
    assert "Tested through what uses it: `tests/norms/test_plain.py`" in text
    assert "[arXiv:1801.00001](https://arxiv.org/abs/1801.00001).\n\nNo test file of its own." in text


def test_every_system_of_the_page_has_a_test():
    assert "No test file of its own." not in page()


def test_every_link_inside_the_page_has_its_heading():
    text = page()
    anchors = {re.sub(r"[^\w -]", "", line[4:].lower()) for line in text.splitlines() if line.startswith("### ")}
    assert set(re.findall(r"\]\(#([^)]*)\)", text)) <= anchors
