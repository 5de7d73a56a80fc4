"""List the benchmarks, or run one of them by name, or all.

    python -m benchmarks.run              every benchmark, with its own defaults
    python -m benchmarks.run encoder -- --model small --save
    python -m benchmarks.run --list

A benchmark is a file beside this one that does something when it is run; its first line says what it claims.
"""

import argparse
import ast
import os
import subprocess
import sys
from pathlib import Path

__all__ = ["main", "scripts"]

FOLDER = Path(__file__).resolve().parent
ASIDE = ("inputs", "run", "tune")  # what a benchmark runs in child processes, this file, and what measures no claim


def scripts(folder: Path = FOLDER) -> dict[str, str]:
    """The benchmarks in ``folder``: what each one claims, by name."""
    found = {}
    for path in sorted(folder.glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if path.stem not in ASIDE and _runs(tree):
            found[path.stem] = (ast.get_docstring(tree) or "").partition("\n\n")[0].replace("\n", " ")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run what was asked for in processes of their own; the worst exit code of all."""
    known = scripts()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("op", nargs="?", choices=known, metavar="op", help=", ".join(known))
    parser.add_argument("--list", action="store_true", help="tell what there is and run nothing")
    parser.add_argument("options", nargs="*", help="behind --: options of the benchmark itself")
    options = parser.parse_args(arguments)
    if options.list:
        print("\n".join(f"{name:24} {claim}" for name, claim in known.items()))
        return 0
    codes = [0]
    for name in [options.op] if options.op else known:
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}", *options.options]
        codes.append(subprocess.run(command, env={**os.environ, "PYTHONPATH": str(FOLDER.parent)}).returncode)
    return max(codes, key=abs)


def _runs(tree: ast.Module) -> bool:
    """Whether the file does something when it is run."""
    return any(isinstance(node, ast.If) and "__main__" in ast.unparse(node.test) for node in tree.body)


if __name__ == "__main__":
    sys.exit(main())
