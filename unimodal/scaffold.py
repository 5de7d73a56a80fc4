"""Scaffold: start a part of any kind with one source file and one test, both working from the first minute.

python -m unimodal.scaffold mixer averaging        (make new kind=mixer name=averaging)
"""

import keyword
import re
import sys
from pathlib import Path
from string import Template

from unimodal.catalog import Catalog

__all__ = ["FOLDERS", "main", "scaffold"]

FOLDERS = {
    "attention": "unimodal/attention",
    "mixer": "unimodal/mixers",
    "norm": "unimodal/norms",
    "ffn": "unimodal/ffns",
    "position": "unimodal/positions",
    "stem": "unimodal/stems",
    "readout": "unimodal/readouts",
    "tokenizer": "tokenizers",
    "task": "tasks",
}
_FAMILY_WORD = {"attention": "Attention", "norm": "Norm", "stem": "Stem"}
_SAYS_NOTHING = {"base", "common", "helpers", "misc", "new", "utils", "v2"}
_TEMPLATES = Path(__file__).parent / "templates"


def scaffold(kind: str, name: str, root: Path) -> tuple[Path, Path]:
    """Write the part ``name`` and its test into the checkout at ``root``; returns both paths.

    The class is the name in CapWords, with the family's word behind it where the name alone would not say what it
    is (``NormName``, ``NameAttention``). The body is a small working part of that kind, to be replaced.

    Args:
        kind: One of :data:`FOLDERS`.
        name: The file stem: lower-case words joined by underscores.
        root: A checkout of this repository.

    Raises:
        ValueError: an unknown kind, a name that is not a lower-case identifier or says nothing, or ``root`` is not
            a checkout.
        FileExistsError: the catalog or the folder already has a part or a test of that name.
    """
    if kind not in FOLDERS:
        raise ValueError(f"kind must be one of {', '.join(FOLDERS)}, not {kind!r}")
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name) or keyword.iskeyword(name):
        raise ValueError(f"name must be lower-case words joined by underscores (a file stem), not {name!r}")
    if name in _SAYS_NOTHING:
        raise ValueError(f"name {name!r} does not say what the part does; name the idea")
    folder = root / FOLDERS[kind]
    family = folder.name
    if not (root / "pyproject.toml").is_file() or not folder.is_dir():
        raise ValueError(f"root must be a checkout of unimodal with the folder {FOLDERS[kind]}, not {root}")
    source, test = folder / f"{name}.py", root / "tests" / family / f"test_{name}.py"
    taken = [str(path.relative_to(root)) for path in (source, test) if path.exists()]
    known = Catalog(family)  # read afresh: the cached one would not see the new file afterwards
    if not taken and name in known:
        taken = [f"{known.source(name)} ({family}.{name})"]
    if taken:
        raise FileExistsError(f"the {kind} {name!r} exists already: {', '.join(taken)}")
    words = {"stem": name, "name": _class_name(kind, name), "title": name.replace("_", " ").capitalize()}
    test.parent.mkdir(parents=True, exist_ok=True)
    for path, template in ((source, f"{kind}.txt"), (test, f"{kind}_test.txt")):
        path.write_text(_filled(template, words), encoding="utf-8")
    return source, test


def main(arguments: list[str]) -> int:
    """The command line; 0 when both files were written, 2 when the request makes no sense."""
    if len(arguments) != 2 or not all(arguments):
        sys.stderr.write(f"usage: make new kind=KIND name=NAME, where KIND is one of {', '.join(FOLDERS)}\n")
        return 2
    try:
        source, test = scaffold(*arguments, root=Path.cwd())
    except (ValueError, FileExistsError) as error:
        sys.stderr.write(f"new: {error}\n")
        return 2
    for path in (source, test):
        sys.stdout.write(f"wrote {path.relative_to(Path.cwd())}\n")
    sys.stdout.write(f"next: replace the body, then  .venv/bin/pytest -q {test.relative_to(Path.cwd())}\n")
    return 0


def _class_name(kind: str, name: str) -> str:
    capital = "".join(word.capitalize() for word in name.split("_"))
    word = _FAMILY_WORD.get(kind, "")
    return capital if capital.endswith(word) else capital + word


def _filled(template: str, words: dict[str, str]) -> str:
    return Template((_TEMPLATES / template).read_text(encoding="utf-8")).substitute(words)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
