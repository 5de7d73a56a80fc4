"""Claim: ``import unimodal`` takes at most 10 % more CPU time than ``import torch``.

    python -m benchmarks.import_time

Each run is a fresh interpreter outside the repository, so that only installed packages are seen; the figure is the
CPU time of that child process, interpreter start included for both. Exit code 1 when the claim does not hold.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable

from benchmarks.paired import compare

__all__ = ["main"]

CLAIM = 1 / 1.10


def main() -> int:
    parser = argparse.ArgumentParser(description="Time import unimodal against import torch.")
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    candidates = {"import torch": _importing("torch"), "import unimodal": _importing("unimodal")}
    report = compare("import_time", candidates, base="import torch", rounds=rounds, threads=1)
    verdict = report.verdict("import unimodal", target=CLAIM)
    print(report.table())
    print(f"{verdict.outcome}: {verdict.reason}\nwritten to {report.save()}")
    return verdict.exit_code


def _importing(package: str) -> Callable[[], float]:
    def run() -> float:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        before = os.times()
        subprocess.run(
            [sys.executable, "-c", f"import {package}"], check=True, cwd=tempfile.gettempdir(), env=environment
        )
        after = os.times()
        return after.children_user + after.children_system - before.children_user - before.children_system

    return run


if __name__ == "__main__":
    sys.exit(main())
