"""Catalogs: folders as registries, and plugins of other distributions, installed for real in a temporary folder."""

import subprocess
import sys
from pathlib import Path

import pytest

from unimodal.catalog import FAMILIES, Catalog, catalog
from unimodal.errors import UnknownNameError
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part

PART = """
import torch.nn as nn

class {name}(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a distribution with entry points and modules on the import path."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    before = set(sys.modules)

    def put(name: str, points: dict[str, str], modules: dict[str, str], family: str = "norms") -> Path:
        info = site / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{key} = {value}" for key, value in points.items()]
        (info / "entry_points.txt").write_text("\n".join([f"[unimodal.{family}]", *lines, ""]))
        for file, text in modules.items():
            path = site / file
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        catalog.cache_clear()
        return site

    yield put
    catalog.cache_clear()
    for module in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[module], "__file__", "")):
            del sys.modules[module]


def test_the_folder_is_the_registry_and_the_stem_is_the_name():
    norms = Catalog("norms")
    assert {"layer", "rms"} <= set(norms)
    assert norms["layer"] is LayerNorm
    assert "layer" in norms
    assert "lair" not in norms
    assert norms.source("layer") == "unimodal"
    assert norms.name_of(LayerNorm) == "layer"
    assert norms.name_of(Part) is None


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_opens_and_its_own_parts_load(family):
    opened = Catalog(family)
    assert opened.names() == sorted(opened.names())
    assert all(callable(opened[name]) for name in opened if opened.source(name) == "unimodal")


def test_nothing_is_imported_before_it_is_asked_for():
    code = (
        "import sys; from unimodal.catalog import FAMILIES, catalog; [catalog(f).names() for f in FAMILIES];"
        "assert not [m for m in sys.modules if m.startswith('unimodal.') and m.count('.') > 1];"
        "catalog('norms')['rms']; assert 'unimodal.norms.rms' in sys.modules;"
        "assert 'unimodal.norms.layer' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_raises_and_suggests_its_neighbours():
    with pytest.raises(UnknownNameError, match="no norm named 'layr'; did you mean 'layer'"):
        Catalog("norms")["layr"]


def test_an_unknown_family_raises_and_suggests_its_neighbours():
    with pytest.raises(UnknownNameError, match="no family named 'mixer'; did you mean 'mixers'"):
        Catalog("mixer")


def test_a_plugin_joins_its_family_and_parts_made_of_it_come_back_from_json(install):
    install("outside", {"centre": "outside_norm:Centre"}, {"outside_norm.py": PART.format(name="Centre")})
    norms = catalog("norms")
    assert norms.source("centre") == "outside"
    assert {"centre", "layer"} <= set(norms.usable())
    part = Part(norms["centre"])
    assert part.to_json() == {"part": "norms.centre", "with": {}}
    assert Part.from_json(part.to_json()) == part
    assert norms.problems() == []


def test_a_plugin_class_that_its_package_re_exports_is_found_by_name(install):
    package = {"outside/__init__.py": "from outside.deep import Centre", "outside/deep.py": PART.format(name="Centre")}
    install("outside", {"centre": "outside:Centre"}, package)
    import outside.deep  # pyright: ignore[reportMissingImports]

    assert Part(outside.deep.Centre).to_json()["part"] == "norms.centre"


BROKEN = {
    "missing": ("nowhere:Thing", {}, "ModuleNotFoundError: No module named 'nowhere'"),
    "raising": ("raising:Thing", {"raising.py": "raise RuntimeError('no licence')"}, "RuntimeError: no licence"),
    "leaving": ("leaving:Thing", {"leaving.py": "raise SystemExit(3)"}, "SystemExit: 3"),
    "typo": ("typo:Thing", {"typo.py": "Thong = 1"}, "AttributeError: module 'typo' has no attribute 'Thing'"),
    "syntax": ("syntax:Thing", {"syntax.py": "def"}, "SyntaxError: "),
    "number": (
        "number:Thing",
        {"number.py": "Thing = 1"},
        "TypeError: entry point number:Thing is not a class or function",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_reported_and_harms_nothing(install, name):
    value, modules, cause = BROKEN[name]
    install("outside", {name: value}, modules)
    norms = Catalog("norms")
    (problem,) = norms.problems()
    assert (problem.family, problem.name, problem.source) == ("norms", name, "outside")
    assert problem.cause.startswith(cause)
    assert {"layer", "rms"} <= set(norms.usable())
    assert name not in norms.usable()
    assert norms["layer"] is LayerNorm


def test_a_plugin_with_a_name_of_our_own_is_reported_and_ours_stays(install):
    install("outside", {"layer": "outside_norm:Centre"}, {"outside_norm.py": PART.format(name="Centre")})
    norms = Catalog("norms")
    (problem,) = norms.problems()
    assert (problem.name, problem.source) == ("layer", "outside")
    assert "is taken by unimodal itself; rename the entry point" in problem.cause
    assert norms["layer"] is LayerNorm
    assert norms.names().count("layer") == 1
    assert "layer" in norms.usable()


def test_of_two_plugins_with_one_name_the_first_stays_usable_and_the_other_is_reported(install):
    for owner in ("first", "second"):
        install(owner, {"centre": f"{owner}_norm:Centre"}, {f"{owner}_norm.py": PART.format(name="Centre")})
    norms = Catalog("norms")
    (problem,) = norms.problems()
    assert {problem.source, norms.source("centre")} == {"first", "second"}
    assert f"the name 'centre' is taken by {norms.source('centre')}; rename one entry point" in problem.cause
    assert norms.names().count("centre") == 1
    assert norms.usable()["centre"].__module__ == f"{norms.source('centre')}_norm"


def test_a_distribution_that_is_found_twice_does_not_clash_with_itself(install, tmp_path, monkeypatch):
    site = install("outside", {"centre": "outside_norm:Centre"}, {"outside_norm.py": PART.format(name="Centre")})
    again = tmp_path / "again"
    again.mkdir()
    (again / "outside-1.0.dist-info").symlink_to(site / "outside-1.0.dist-info")
    monkeypatch.syspath_prepend(str(again))
    assert Catalog("norms").problems() == []


def test_a_file_that_lists_other_than_one_public_name_cannot_be_a_part(tmp_path, monkeypatch):
    norms, module = Catalog("norms"), tmp_path / "crowded.py"
    module.write_text("__all__ = ['One', 'Two']\nOne = Two = dict\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(norms._built_in, "crowded", "crowded")
    with pytest.raises(TypeError, match="crowded must list exactly one name in __all__, not"):
        norms["crowded"]
