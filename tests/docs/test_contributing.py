"""CONTRIBUTING, followed to the letter in a copy of the checkout: the parts it shows work and are found."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w/]+\.py)`\n\n```python\n(.*?)^```$", TEXT, flags=re.MULTILINE | re.DOTALL))
TARGETS = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources with the files that the page shows, and the task that it has ``make new`` start."""
    folder = tmp_path_factory.mktemp("checkout")
    ignore = shutil.ignore_patterns("__pycache__", "*.safetensors")
    for name in ("unimodal", "kernels", "tokenizers", "tasks", "demos", "tests", "benchmarks"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", folder)
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    (kind, name) = re.findall(r"make new kind=(task) name=(\w+)", TEXT)[0]
    run(folder, "unimodal.scaffold", kind, name)
    return folder


def run(checkout: Path, *words: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1", "COLUMNS": "160"}
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"
    return done.stdout


def test_the_page_shows_a_source_file_and_a_test_of_a_mixer_and_of_a_tokenizer():
    assert list(FILES) == [
        "unimodal/mixers/token_shift.py",
        "tests/mixers/test_token_shift.py",
        "tokenizers/raw_bytes.py",
        "tests/tokenizers/test_raw_bytes.py",
    ]
    assert TEXT.count("```python") == len(FILES)


@pytest.mark.slow
def test_the_parts_shown_pass_their_own_tests_the_contracts_and_the_layout(checkout):
    suites = [name for name in FILES if name.startswith("tests/")]
    suites += ["tests/tasks/test_ripeness.py", "tests/test_contracts.py", "tests/test_layout.py"]
    chosen = "token_shift or raw_bytes or ripeness or rooms_import or every_part_names or two_ideas"
    report = run(checkout, "pytest", "-v", "-p", "no:cacheprovider", *suites, "-k", chosen)
    for name in suites:
        assert f"{name}::" in report
    assert "[mixers.token_shift-layouts] PASSED" in report


def test_the_parts_shown_are_listed(checkout):
    table = run(checkout, "unimodal", "list")
    for name in ("token_shift", "raw_bytes", "ripeness"):
        assert re.search(rf"\b{name}\b.*\bunimodal\b", table), table


def test_the_parts_shown_obey_the_formatter_and_the_linter(checkout):
    run(checkout, "ruff", "format", "--check", *FILES)
    run(checkout, "ruff", "check", *FILES)


def test_every_make_command_of_the_page_is_a_target():
    words = re.findall(r"\bmake ((?:[a-z]+ )*[a-z]+)\b(?=[`\s]|$)", "\n".join(code(TEXT)))
    asked = {target for line in words for target in line.split() if target != "kind"}
    assert {"setup", "check", "test", "new", "docs"} <= asked
    assert asked - set(TARGETS) == set()


def test_every_command_of_the_environment_that_the_page_names_is_installed():
    for command in set(re.findall(r"\.venv/bin/([\w-]+)", TEXT)):
        assert (Path(sys.executable).parent / command).exists(), f".venv/bin/{command} is not installed"


def code(text: str) -> list[str]:
    """Inline code and indented lines."""
    return re.findall(r"`([^`\n]+)`", text) + re.findall(r"^    (\S.*)$", text, flags=re.MULTILINE)
