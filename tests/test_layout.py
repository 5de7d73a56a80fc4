"""The house itself: what lies where, who may import whom, and what an archive contains."""

import ast
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from unimodal.catalog import FAMILIES, catalog

ROOT = Path(__file__).resolve().parent.parent
LINKED = ("kernels", "tokenizers", "tasks", "demos")
PART_FAMILIES = ("attention", "mixers", "norms", "ffns", "positions", "stems", "spectra", "readouts", "objectives")

# Recipes and converters put parts of the core and tokenizers together; the core finds them by name only.
COMPOSERS = ("recipes", "converters")

# What a file of each room may import of unimodal.
MAY_IMPORT = {
    "kernels": {"kernels"},
    "core": {"core", "kernels"},
    "tokenizers": {"core", "tokenizers"},
    "composers": {"core", "tokenizers", "composers"},
    "tasks": {"core", "tokenizers", "composers", "tasks"},
    "demos": {"core", "kernels", "tokenizers", "composers", "tasks", "demos"},
}


def tracked() -> list[Path]:
    """The files of the project as git sees them: tracked, or new and not ignored."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in names.split("\0") if name]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def sources(*folders: str) -> list[Path]:
    """The Python files below ``folders``, once each: links are not followed."""
    found = (path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    links = {ROOT / "unimodal" / name for name in LINKED}
    return sorted(path for path in found if not links & set(path.parents))


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def room_of(word: str) -> str:
    """The room of ``unimodal.<word>``: one of the four linked ones, the composers or the core."""
    return "composers" if word in COMPOSERS else word if word in LINKED else "core"


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import, also inside functions; ``from a import b`` gives ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{'.' * node.level}{node.module or ''}.{a.name}") for a in node.names)


def public_names(path: Path) -> list[str]:
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets):
            return list(ast.literal_eval(node.value))
    return []


def test_the_linked_rooms_are_relative_links_to_the_root_folders():
    for name in LINKED:
        link = ROOT / "unimodal" / name
        assert link.is_symlink(), f"unimodal/{name} is not a link (on Windows: git config core.symlinks true)"
        assert link.readlink() == Path("..") / name
        assert link.resolve() == ROOT / name


def test_no_package_marker_makes_a_room_shadow_an_installed_package():
    markers = [relative(p) for p in sources(*LINKED, "tests", "benchmarks") if p.name == "__init__.py"]
    assert markers == []


def test_installed_tokenizers_are_not_shadowed_from_the_repository_root():
    code = "import tokenizers; print(tokenizers.Tokenizer.__name__, tokenizers.__file__)"
    pytest.importorskip("tokenizers")
    out = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    name, file = out.split(maxsplit=1)
    assert name == "Tokenizer"
    assert ROOT / "tokenizers" not in Path(file.strip()).parents


def test_rooms_import_only_what_their_place_in_the_house_allows():
    wrong = []
    for path in sources("unimodal", *LINKED):
        parts = path.relative_to(ROOT).with_suffix("").parts
        room = room_of(parts[1] if parts[0] == "unimodal" else parts[0])
        for line, name in imported(ast.parse(path.read_text(encoding="utf-8"))):
            first, _, rest = name.partition(".")
            if first == "unimodal" and room_of(rest.split(".")[0]) not in MAY_IMPORT[room]:
                wrong.append(f"{relative(path)}:{line} ({room}) imports {name}")
            elif first in (*LINKED, "tests", "benchmarks") and first != "tokenizers":
                wrong.append(f"{relative(path)}:{line} imports {name}, not unimodal.{name}")
    assert wrong == []


def test_every_import_is_absolute():
    wrong = [
        f"{relative(path)}:{line}"
        for path in sources("unimodal", *LINKED, "tests", "benchmarks")
        for line, name in imported(ast.parse(path.read_text(encoding="utf-8")))
        if name.startswith(".")
    ]
    assert wrong == []


def test_no_source_file_holds_two_ideas():
    lengths = {
        relative(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in sources("unimodal", *LINKED, "tests", "benchmarks")
    }
    assert {name: lines for name, lines in lengths.items() if lines > 400} == {}
    over_aim = {name: lines for name, lines in lengths.items() if lines > 300}
    assert len(over_aim) <= 3, f"more than three files are over 300 lines: {over_aim}"


@pytest.mark.parametrize("family", PART_FAMILIES)
def test_every_part_names_its_source_and_exactly_one_public_thing(family):
    for path in sources(f"unimodal/{family}"):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        cited = [line for line in docstring.splitlines() if line.strip().startswith("Source:")]
        assert cited, f"{relative(path)} has no 'Source:' line in its docstring"
        assert cited[0].partition(":")[2].strip(), f"{relative(path)} has an empty 'Source:' line"
        assert len(public_names(path)) == 1, f"{relative(path)} must list exactly one name in __all__"


@pytest.mark.parametrize("family", FAMILIES)
def test_every_name_of_a_catalog_has_its_own_test_file(family):
    own = [name for name in catalog(family) if catalog(family).source(name) == "unimodal"]
    missing = [n for n in own if not (ROOT / "tests" / family / f"test_{n}.py").is_file()]
    assert missing == [], f"no tests/{family}/test_<name>.py for {missing}"


def test_no_tracked_file_names_a_package_index_or_an_absolute_path_of_a_machine():
    words = [f"{'index'}-url", f"{'find'}-links", f"/{'home'}/", f"/{'root'}/", f"{ROOT}/"]
    if len(ROOT.parts) > 2:
        words.append(f"{ROOT.parent}/")
    found = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{relative(path)} contains {word!r}" for word in words if word in text]
    assert found == []


def test_constraints_pin_every_requirement_exactly():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [line for line in pins if "==" not in line or "://" in line or " @ " in line] == []
    names = [line.partition("==")[0] for line in pins]
    assert len(names) == len(set(names)), "a package is pinned twice"


@pytest.mark.slow
def test_a_wheel_holds_every_room_exactly_once_as_real_files(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert len(names) == len(set(names))
    packed = [name for name in names if name.endswith(".py")]
    here = [relative(path) for path in sources("unimodal", *LINKED)]
    expected = [name if name.startswith("unimodal/") else f"unimodal/{name}" for name in here]
    assert sorted(packed) == sorted(expected)
    outside = {name.split("/")[0] for name in names} - {"unimodal"}
    assert all(name.endswith(".dist-info") for name in outside), f"the wheel installs beside unimodal/: {outside}"
