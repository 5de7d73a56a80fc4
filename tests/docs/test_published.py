"""docs/published.md: it lists every converter, and every figure is within what the tests demand."""

import re

from unimodal.catalog import catalog

ROW = re.compile(
    r"^\| (?P<family>[^|]+) \| (?P<modality>[^|]+) \| `(?P<hub>[^`]+)` \| `(?P<name>\w+)` \| (?P<gap>\S+) \|$"
)


def rows(repository) -> list[dict[str, str]]:
    text = (repository / "docs" / "published.md").read_text(encoding="utf-8")
    return [found.groupdict() for line in text.splitlines() if (found := ROW.match(line))]


def test_every_converter_has_a_row_with_a_figure_within_the_limit(repository):
    found = rows(repository)
    own = {name for name in catalog("converters") if catalog("converters").source(name) == "unimodal"}
    assert {row["name"] for row in found} == own, "run: make docs"
    assert max(float(row["gap"]) for row in found) <= 1e-5


def test_the_families_are_at_least_twelve_over_at_least_six_modalities(repository):
    found = rows(repository)
    assert len({row["family"] for row in found}) >= 12
    assert len({row["modality"] for row in found}) >= 6
