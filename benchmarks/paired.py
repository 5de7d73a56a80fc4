"""Paired timing: every round runs each candidate once, in a shuffled order, and ratios are taken inside a round.

A machine that others use gets slower and faster by the minute; two candidates timed in the same round feel the same
weather, so their ratio holds where their times do not. CPU time is the gated figure, wall time is printed beside it.

    report = compare("encoder", {"ours": ours, "timm": theirs}, base="timm", shape="8x3x224x224")
    report.save()
    sys.exit(report.verdict("ours", target=1.0).exit_code)

Assert that the candidates agree before timing them: the time of a wrong result means nothing.
"""

import datetime
import json
import math
import os
import platform
import random
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["Report", "Timing", "Verdict", "compare", "exponent", "machine", "memory_kb", "save_rows"]

RESULTS = Path(__file__).resolve().parent / "results"
WIDEST_QUARTILES = 0.4


@dataclass(frozen=True)
class Timing:
    """One candidate's rounds.

    Args:
        wall_s: Wall seconds, a round each.
        cpu_s: CPU seconds of this process (or those the candidate returned), a round each.
        ratios: CPU time of the base over that of this candidate, a round each; above 1 is faster than the base.
    """

    name: str
    wall_s: tuple[float, ...]
    cpu_s: tuple[float, ...]
    ratios: tuple[float, ...]


@dataclass(frozen=True)
class Verdict:
    """``passed``, ``failed`` or ``noisy`` (the quartiles lie too far apart to say), with the reason."""

    outcome: str
    reason: str

    @property
    def exit_code(self) -> int:
        """0 passed, 1 failed, 75 (try again later) noisy."""
        return {"passed": 0, "failed": 1, "noisy": 75}[self.outcome]


@dataclass
class Report:
    """What :func:`compare` measured, and how to run it again."""

    name: str
    base: str
    timings: dict[str, Timing]
    setting: dict[str, Any]
    load: tuple[float, float, float]
    again: Callable[[int], "Report"] = field(repr=False)

    def verdict(self, candidate: str, target: float) -> Verdict:
        """Gate: median ratio >= target and first quartile >= 0.9 target; a failure is measured once more.

        The second run has twice the rounds and replaces this report's figures.
        """
        first = _judge(self.timings[candidate], target)
        if first.outcome == "passed":
            return first
        second = self.again(2 * len(self.timings[candidate].ratios))
        self.timings, self.load = second.timings, second.load
        return _judge(self.timings[candidate], target)

    def rebased(self, base: str) -> "Report":
        """The same rounds with their ratios taken to another candidate."""
        cpu_s = {name: timing.cpu_s for name, timing in self.timings.items()}
        timings = {
            name: replace(timing, ratios=_ratios(cpu_s[base], timing.cpu_s)) for name, timing in self.timings.items()
        }
        return replace(self, base=base, timings=timings, again=lambda more: self.again(more).rebased(base))

    def rows(self) -> list[dict[str, Any]]:
        """One JSON-able row a candidate: medians, quartiles, ratio, and what they were measured on."""
        shared = {"benchmark": self.name, "base": self.base, **self.setting, "load_average": list(self.load)}
        return [
            {
                **shared,
                "candidate": timing.name,
                "rounds": len(timing.wall_s),
                "cpu_ms": _summary([1e3 * s for s in timing.cpu_s]),
                "wall_ms": _summary([1e3 * s for s in timing.wall_s]),
                "ratio": _summary(timing.ratios),
            }
            for timing in self.timings.values()
        ]

    def table(self) -> str:
        """The rows as a Markdown table."""
        lines = [
            "| candidate | cpu ms (q1-q3) | wall ms | ratio (q1-q3) |",
            "| --- | --- | --- | --- |",
        ]
        for row in self.rows():
            cpu, wall, ratio = row["cpu_ms"], row["wall_ms"], row["ratio"]
            lines.append(
                f"| {row['candidate']} | {cpu['median']:.2f} ({cpu['q1']:.2f}-{cpu['q3']:.2f}) "
                f"| {wall['median']:.2f} | {ratio['median']:.3f} ({ratio['q1']:.3f}-{ratio['q3']:.3f}) |"
            )
        return "\n".join(lines) + f"\n\nload average {self.load[0]:.2f}, base: {self.base}"

    def save(self, folder: Path = RESULTS) -> Path:
        """Write the rows to ``<folder>/<machine>/<date>-<name>.json`` and return that path."""
        return save_rows(self.name, self.rows(), folder)


def compare(
    name: str,
    candidates: Mapping[str, Callable[[], Any]],
    *,
    base: str,
    rounds: int = 15,
    warmup: int = 2,
    seed: int = 0,
    **setting: Any,
) -> Report:
    """Time ``candidates`` against ``base`` in shuffled rounds.

    Args:
        name: The benchmark's name, part of the result file's name.
        candidates: What to run, by label. One that returns a float is believed: that many CPU seconds were used
            (for work in a child process); any other return value is dropped.
        base: The label whose time is the numerator of every ratio.
        rounds: How often each candidate runs; at least 2, for quartiles.
        warmup: Untimed runs of each candidate.
        seed: Of the shuffling.
        setting: Shape, dtype, thread count: kept in every row.

    Raises:
        ValueError: ``base`` is not among ``candidates``, or ``rounds`` is below 2.
    """
    if base not in candidates:
        raise ValueError(f"base must be one of {sorted(candidates)}, not {base!r}")
    if rounds < 2:
        raise ValueError(f"rounds must be at least 2, not {rounds}")
    for run in candidates.values():
        for _ in range(warmup):
            run()
    order, shuffle = list(candidates), random.Random(seed).shuffle
    wall: dict[str, list[float]] = {label: [] for label in candidates}
    cpu: dict[str, list[float]] = {label: [] for label in candidates}
    for _ in range(rounds):
        shuffle(order)
        for label in order:
            wall_start, cpu_start = time.perf_counter(), time.process_time()
            returned = candidates[label]()
            cpu_used, wall_used = time.process_time() - cpu_start, time.perf_counter() - wall_start
            wall[label].append(wall_used)
            cpu[label].append(returned if isinstance(returned, float) else cpu_used)
    timings = {
        label: Timing(
            label,
            tuple(wall[label]),
            tuple(cpu[label]),
            _ratios(cpu[base], cpu[label]),
        )
        for label in candidates
    }

    def again(more: int) -> Report:
        return compare(name, candidates, base=base, rounds=more, warmup=0, seed=seed + 1, **setting)

    return Report(name, base, timings, setting, os.getloadavg(), again)


def save_rows(name: str, rows: Iterable[Mapping[str, Any]], folder: Path = RESULTS) -> Path:
    """Write what was measured, each row with the machine's, to ``<folder>/<machine>/<date>-<name>.json``; that path."""
    about = machine()
    path = folder / about["machine"] / f"{about['date']}-{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([{**about, **row} for row in rows], indent=1) + "\n", encoding="utf-8")
    return path


def exponent(sizes: Iterable[float], values: Iterable[float]) -> float:
    """The slope of log value over log size, by least squares: 1 where twice the size takes twice as much."""
    return statistics.linear_regression([math.log(n) for n in sizes], [math.log(v) for v in values]).slope


def memory_kb(name: str) -> int:
    """What /proc tells of this process' memory: ``VmHWM``, its peak, or ``VmRSS``.

    The peak of getrusage is no help in a child: it begins with its parent's.
    """
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def machine() -> dict[str, Any]:
    """What the figures depend on: commit, versions, processor. ``machine`` is a slug of the processor's model."""
    model = _cpu_model()
    return {
        "machine": re.sub(r"[^a-z0-9]+", "-", model.lower()).strip("-"),
        "cpu": model,
        "instructions": _instructions(),
        "cores": os.cpu_count(),
        "commit": _commit(),
        "date": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        "versions": {name: v for name in ("torch", "triton", "timm", "transformers") if (v := _version(name))},
    }


def _ratios(base_s: Sequence[float], own_s: Sequence[float]) -> tuple[float, ...]:
    return tuple(base / max(own, 1e-9) for base, own in zip(base_s, own_s, strict=True))


def _judge(timing: Timing, target: float) -> Verdict:
    ratio = _summary(timing.ratios)
    width = (ratio["q3"] - ratio["q1"]) / ratio["median"]
    figures = f"{timing.name}: median {ratio['median']:.3f}, q1 {ratio['q1']:.3f}, target {target:.3f}"
    if width > WIDEST_QUARTILES:
        return Verdict("noisy", f"{figures}; the quartiles lie {width:.0%} of the median apart")
    passed = ratio["median"] >= target and ratio["q1"] >= 0.9 * target
    return Verdict("passed" if passed else "failed", figures)


def _summary(values: list[float] | tuple[float, ...]) -> dict[str, float]:
    q1, median, q3 = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": median, "q1": q1, "q3": q3, "min": min(values)}


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _instructions() -> str:
    """Which of the matrix kernels' instruction sets the processor has: one model's name covers several."""
    known = (
        "avx2",
        "avx512f",
        "avx_vnni",
        "avx512_vnni",
        "avx512_bf16",
        "amx_bf16",
        "amx_int8",
        "asimd",
        "bf16",
        "sve",
    )
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.lower().startswith(("flags", "features")):
                return " ".join(word for word in known if word in line.partition(":")[2].split())
    except OSError:
        pass
    return ""


def _commit() -> str | None:
    """The checkout's commit, with ``+`` behind it when tracked files differ from it."""
    try:
        words = ["git", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"]
        done = subprocess.run(words, cwd=RESULTS.parent, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
