"""README: every code block is executed, and every output it shows comes out."""

import contextlib
import doctest
import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "docs/architecture.md",
    "docs/kernels.md",
    "docs/pyramids.md",
    "docs/ways_in.md",
]
EXECUTED = ["README.md", "docs/kernels.md", "docs/pyramids.md", "docs/ways_in.md"]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
SEPARATOR = "\x1e"
PROGRESS = re.compile(r"^\d+/\d+ .*\bleft\b.*\n", flags=re.MULTILINE)  # on a terminal, a bar that vanishes


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, and the line of its first statement."""

    page: str
    language: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.language} at line {self.line} of {self.page}"


def fenced(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    fences = re.finditer(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    return [Block(page, f[1], text.count("\n", 0, f.start(2)) + 1, f[2]) for f in fences]


BLOCKS = [block for page in EXECUTED for block in fenced(page)]


def blocks(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with what the page takes from the checkout: the sample pictures and the outside package."""
    for name in ("unimodal/data/samples", "tests/outside_plugin"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def same(shown: str, got: str) -> bool:
    """Whether ``got`` is what the page shows, ``...`` standing for anything and white space for white space."""
    return doctest.OutputChecker().check_output(shown, got, FLAGS)


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_a_python_block_runs_and_prints_what_its_comments_say(block, folder):
    shown = re.findall(r"^\s*print\(.*\)  # (.*)$", block.text, flags=re.MULTILINE)
    assert len(shown) == block.text.count("print(")
    printed = io.StringIO()
    code = compile("\n" * (block.line - 1) + block.text, block.page, "exec")
    with contextlib.redirect_stdout(printed):
        exec(code, {"__name__": "readme"})
    got = printed.getvalue().splitlines()
    wrong = [pair for pair in zip(shown, got, strict=True) if not same(*pair)]
    assert wrong == []


@pytest.mark.slow
@pytest.mark.parametrize("block", blocks("console"), ids=str)
def test_a_console_block_runs_in_a_shell_and_shows_what_comes_out(block, folder):
    session = [(step[0], step[1]) for step in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", block.text, re.MULTILINE)]
    demo = [step for step in session if step[0].startswith("unimodal demo")]
    steps = [step for step in session if step not in demo]
    results = run([command for command, _ in steps])
    asked = [command == "echo $?" for command, _ in (*steps[1:], ("", ""))]
    for (command, shown), (got, code), status_is_shown in zip(steps, results, asked, strict=True):
        assert same(shown, got) or not shown, f"$ {command}\n{got}\nis not what README.md shows:\n{shown}"
        assert code == 0 or status_is_shown, f"$ {command}\nended with {code}, and README.md does not say so:\n{got}"
    for command, shown in demo:
        said = first_words_of_a_server(command)
        assert same(shown, said), f"$ {command}\n{said}"


def environment() -> dict[str, str]:
    """That of a fresh shell with the project's environment active."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore", "OMP_NUM_THREADS": "1"}
    return {**kept, **quiet, "PATH": path, "COLUMNS": "100", "GRADIO_ANALYTICS_ENABLED": "False"}


def run(commands: list[str]) -> list[tuple[str, int]]:
    """Each command's output and exit code, all in one shell."""
    mark = f"code=$?; printf '{SEPARATOR}%s{SEPARATOR}' $code; (exit $code)"
    script = "".join(f"{command}\n{mark}\n" for command in commands)
    words = ["bash", "-c", f"exec 2>&1\n{script}"]
    out = subprocess.run(words, env=environment(), stdout=subprocess.PIPE, text=True, timeout=400, check=False).stdout
    fields = out.split(SEPARATOR)
    return [(PROGRESS.sub("", fields[2 * i]), int(fields[2 * i + 1])) for i in range(len(commands))]


def first_words_of_a_server(command: str) -> str:
    """What a server says up to its address; then it is asked to end, and must end with a documented code.

    By SIGTERM, which the command line takes as it takes Ctrl-C: SIGINT is ignored in whatever a shell runs behind.
    """
    words = ["bash", "-c", f"exec {command}"]
    server = subprocess.Popen(
        words, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=1
    )
    limit = threading.Timer(300, server.kill)
    limit.start()
    said = []
    with server:
        assert server.stdout is not None
        for line in server.stdout:
            said.append(line)
            if "http://" in line:
                server.terminate()
    limit.cancel()
    assert server.returncode in (0, 130), "".join(said)
    end = next(i for i, line in enumerate(said) if "http://" in line) + 1
    return "".join(line for line in said[:end] if not line.startswith("Port "))


def test_the_entry_point_shown_is_that_of_the_package_shown():
    (block,) = blocks("toml")
    shown = tomllib.loads(block.text)["project"]["entry-points"]
    package = tomllib.loads((ROOT / "tests/outside_plugin/pyproject.toml").read_text(encoding="utf-8"))
    assert shown == package["project"]["entry-points"]


def test_no_block_goes_unexecuted():
    assert {block.language for block in BLOCKS} == {"python", "console", "toml"}
    assert sum((ROOT / page).read_text(encoding="utf-8").count("```") for page in EXECUTED) == 2 * len(BLOCKS)


def test_the_two_commands_and_every_other_make_command_are_targets():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = re.findall(r"(?:^    |`)make (\w+)", TEXT, flags=re.MULTILINE)
    assert {"demo", "test"} <= set(named)
    assert [name for name in named if not re.search(rf"^{name}:", makefile, flags=re.MULTILINE)] == []


def test_the_exit_codes_are_those_of_the_help():
    from unimodal.cli.application import EXIT_CODES

    rows = re.findall(r"^\| (\d+) \| (.*) \|$", TEXT, flags=re.MULTILINE)
    assert [f"{code} {meaning.replace('`', '')}" for code, meaning in rows] == EXIT_CODES.split("\n\n")[1:]


@pytest.mark.parametrize(
    "words, folder, figure",
    [("top-1", "classification_cifar10", "top1"), ("mean IoU", "segmentation_camvid", "mean_iou")],
)
def test_the_scores_stated_are_those_of_the_model_cards(words, folder, figure):
    card = json.loads((ROOT / "unimodal/weights" / folder / "task.json").read_text(encoding="utf-8"))["card"]
    assert re.findall(rf"{words} ([\d.]+) %", TEXT) == [f"{100 * card[figure]:.1f}"]


@pytest.mark.parametrize("page", PAGES)
def test_every_link_into_the_repository_leads_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = [target.partition("#") for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    for name, _, anchor in targets:
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.exists(), f"{page} links to {name}, which does not exist"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
            slugs = [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings]
            assert anchor in slugs, f"{page} links to #{anchor} of {path.name}, which has no such heading"
