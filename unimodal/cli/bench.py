"""bench: run a benchmark of this checkout by name."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from unimodal.errors import InputError, UnknownNameError

__all__ = ["bench"]

ROOT = Path(__file__).resolve().parents[2]


def bench(
    name: Annotated[str | None, typer.Argument(help="Which one; without a name they are listed.")] = None,
    options: Annotated[
        list[str] | None, typer.Argument(help="The benchmark's own (NAME -- --help tells them).")
    ] = None,
) -> int:
    """Measure a claim again: unimodal bench transfer --data DIR --run DIR --save.

    Benchmarks are scripts of the repository and are not installed with the package.
    """
    known = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py"))
    if "run" not in known:
        raise InputError("unimodal bench", "there are no benchmarks beside this installation", "run it in a checkout")
    if name is not None and name not in known:
        raise UnknownNameError("benchmark", name, known)
    command = [sys.executable, "-m", "benchmarks.run", *([name, "--", *(options or [])] if name else ["--list"])]
    return subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}).returncode
