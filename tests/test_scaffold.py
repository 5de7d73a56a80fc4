"""Every kind of part that ``make new`` starts works, passes its own test and obeys the house's style."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from unimodal.scaffold import FOLDERS, main, scaffold

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the repository's sources, with the links between the rooms."""
    ignore = shutil.ignore_patterns("__pycache__", "*.safetensors")
    for name in ("unimodal", "kernels", "tokenizers", "tasks", "demos", "tests", "benchmarks"):
        shutil.copytree(ROOT / name, tmp_path / name, symlinks=True, ignore=ignore)
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def run(checkout: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", *command]
    return subprocess.run(words, cwd=checkout, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_new_parts_of_every_kind_pass_their_tests_the_contracts_and_the_layout(checkout):
    written = [str(path) for kind in FOLDERS for path in scaffold(kind, "freshly_made", checkout)]
    contracts = [str(path) for path in (checkout / "tests").glob("test_contracts*.py")]
    suite = [*written[1::2], *contracts, str(checkout / "tests/test_layout.py")]
    chosen = "(freshly_made or test_layout) and not wheel"
    done = run(checkout, "pytest", "-v", "-p", "no:cacheprovider", *suite, "-k", chosen)
    assert done.returncode == 0, done.stdout + done.stderr
    for test in written[1::2]:
        assert f"{Path(test).relative_to(checkout)}::" in done.stdout
    for check in (("ruff", "format", "--check"), ("ruff", "check")):
        found = run(checkout, *check, *written)
        assert found.returncode == 0, found.stdout + found.stderr


def test_the_command_writes_both_files_and_says_where(checkout, monkeypatch, capsys):
    monkeypatch.chdir(checkout)
    assert main(["mixer", "averaging"]) == 0
    assert "wrote unimodal/mixers/averaging.py" in capsys.readouterr().out
    assert "class Averaging(nn.Module)" in (checkout / "unimodal/mixers/averaging.py").read_text()
    assert (checkout / "tests/mixers/test_averaging.py").is_file()


def test_the_command_reports_a_refusal_without_a_traceback(checkout, monkeypatch, capsys):
    monkeypatch.chdir(checkout)
    assert main(["mixer", "full"]) == 2
    assert capsys.readouterr().err.startswith("new: the mixer 'full' exists already")


@pytest.mark.parametrize("arguments", [[], ["mixer"], ["mixer", ""]])
def test_a_command_without_kind_or_name_says_how_it_is_used(arguments, capsys):
    assert main(arguments) == 2
    assert "make new kind=KIND name=NAME" in capsys.readouterr().err


def test_an_unknown_kind_is_refused(checkout):
    with pytest.raises(ValueError, match="kind must be one of attention, mixer, .*, not 'mixers'"):
        scaffold("mixers", "averaging", checkout)


@pytest.mark.parametrize("name", ["Averaging", "2d", "two words", "a-b", "_hidden", "lambda", "../up", "", "a__b"])
def test_a_name_that_is_not_a_file_stem_is_refused(name, checkout):
    with pytest.raises(ValueError, match="name must be lower-case words joined by underscores"):
        scaffold("mixer", name, checkout)


def test_a_name_that_says_nothing_is_refused(checkout):
    with pytest.raises(ValueError, match="'utils' does not say what the part does"):
        scaffold("mixer", "utils", checkout)


def test_an_existing_part_or_test_is_never_overwritten(checkout):
    with pytest.raises(FileExistsError, match=r"the mixer 'full' exists already: .*unimodal/mixers/full.py"):
        scaffold("mixer", "full", checkout)
    orphan = checkout / "tests/mixers/test_orphan.py"
    orphan.parent.mkdir(exist_ok=True)
    orphan.write_text("kept")
    with pytest.raises(FileExistsError, match="tests/mixers/test_orphan.py"):
        scaffold("mixer", "orphan", checkout)
    assert orphan.read_text() == "kept"
    assert not (checkout / "unimodal/mixers/orphan.py").exists()


def test_a_folder_that_is_no_checkout_is_refused(tmp_path):
    with pytest.raises(ValueError, match="root must be a checkout of unimodal with the folder unimodal/mixers"):
        scaffold("mixer", "averaging", tmp_path)
