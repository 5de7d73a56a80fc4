"""Claim: Manhattan attention takes time and memory with the 4th power of a lattice's side, axis by axis with the 3rd.

    python -m benchmarks.manhattan

One picture, 4 heads of width 32, float32, one thread. Exponents are the slopes of log time (median CPU time of the
rounds) and of log memory (what the peak of a fresh process grows by) over the logs of four sides, for the decay inside
of the softmax; each must lie within 0.3 of its figure, and memory axis by axis must grow no faster than the 3rd power.
Both forms are compared with the softmax of plain attention on a lattice of 56 x 56 beside. Exit code 1 when the claim
does not hold.
"""

import argparse
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.paired import compare, exponent, memory_kb, save_rows
from unimodal.attention.manhattan import ManhattanAttention
from unimodal.side import Side

__all__ = ["main"]

HEADS, WIDTH, NEAR = 4, 32, 0.3
SIDES = {"whole": (24, 32, 48, 64), "axis by axis": (128, 192, 256, 384)}
POWER = {"whole": 4.0, "axis by axis": 3.0}


def inputs(side: int) -> list[Tensor]:
    """q, k and v (1, H, side^2, K)."""
    return [torch.randn(1, HEADS, side * side, WIDTH) for _ in range(3)]


def peak_mb(form: str, side: int) -> float:
    """What one forward pass adds to the peak memory of a process of its own."""
    words = [sys.executable, "-m", "benchmarks.manhattan", "--peak", form, str(side)]
    return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def print_peak(form: str, side: int) -> int:
    rule = ManhattanAttention(decomposed=form != "whole")
    small, own = inputs(4), inputs(side)
    with torch.inference_mode():
        rule(*small, Side(grid=(4, 4)))
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts anew (Linux)
        before = memory_kb("VmRSS")
        rule(*own, Side(grid=(side, side)))
    print((memory_kb("VmHWM") - before) / 1e3)
    return 0


def run(rule: ManhattanAttention, side: int) -> Callable[[], Tensor]:
    """A forward pass over a square lattice."""
    q, k, v = inputs(side)
    return lambda: rule(q, k, v, Side(grid=(side, side)))


def assert_equal() -> None:
    """The whole form is softmax with the decay as a bias; both forms are one where there is one axis."""
    q, k, v = inputs(8)
    whole, passes = ManhattanAttention(), ManhattanAttention(decomposed=True)
    rates, place = whole.rates(q), torch.arange(64)
    apart = (place // 8 - place[:, None] // 8).abs() + (place % 8 - place[:, None] % 8).abs()
    wanted = F.scaled_dot_product_attention(q, k, v, attn_mask=rates[:, None, None] * apart)
    torch.testing.assert_close(whole(q, k, v, Side(grid=(8, 8))), wanted)
    torch.testing.assert_close(passes(q, k, v, Side(grid=(64,))), whole(q, k, v, Side(grid=(64,))))


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the exponents and the comparison; the exit code says whether the claim holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--save", action="store_true")
    parser.add_argument("--peak", nargs=2, metavar=("FORM", "SIDE"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if options.peak is not None:
        return print_peak(options.peak[0], int(options.peak[1]))
    torch.manual_seed(0)
    assert_equal()
    rows: list[dict[str, Any]] = []
    code = 0
    with torch.inference_mode():
        for form, sides in SIDES.items():
            rule = ManhattanAttention(decomposed=form != "whole")
            runs = {str(n): run(rule, n) for n in sides}
            report = compare("manhattan", runs, base=str(sides[0]), rounds=options.rounds, warmup=1)
            times = [1e3 * statistics.median(report.timings[str(n)].cpu_s) for n in sides]
            memory = [peak_mb(form, n) for n in sides]
            of_time, of_memory = exponent(sides, times), exponent(sides, memory)
            fits = abs(of_time - POWER[form]) <= NEAR and of_memory <= POWER[form] + NEAR
            code = code or int(not fits)
            print(f"{form}: time ~ side^{of_time:.2f}, memory ~ side^{of_memory:.2f} ({'holds' if fits else 'misses'})")
            for n, ms, mb in zip(sides, times, memory, strict=True):
                print(f"    {n:4d} x {n:<4d} {ms:9.2f} ms {mb:9.1f} MB")
                figures = {"side": n, "cpu_ms": ms, "peak_mb": mb, "time_power": of_time, "memory_power": of_memory}
                rows.append({"form": form, **figures, "load_average": list(report.load)})
        runs = {
            f"{form}, {decay}": run(ManhattanAttention(decay=decay, decomposed=form != "whole"), 56)
            for form in SIDES
            for decay in ("bias", "multiply")
        }
        q, k, v = inputs(56)
        plain = {"plain softmax, torch": lambda: F.scaled_dot_product_attention(q, k, v)}
        report = compare("manhattan", runs | plain, base="plain softmax, torch", rounds=options.rounds, threads=1)
        print(f"\n56 x 56\n\n{report.table()}")
    if options.save:
        print(
            save_rows("manhattan", ({"benchmark": "manhattan", "threads": 1} | row for row in (*rows, *report.rows())))
        )
    return code


if __name__ == "__main__":
    sys.exit(main())
