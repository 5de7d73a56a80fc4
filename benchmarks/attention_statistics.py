"""What statistics of the weights cost beside the attention alone, float32, one thread.

    python -m benchmarks.attention_statistics [--tokens 1024] [--heads 12] [--rounds 15] [--save]

The base is what :func:`unimodal.kernels.rule_attention.rule_attention` runs without statistics.
"""

import argparse
import sys
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.paired import compare
from unimodal.kernels.rule import Rule
from unimodal.kernels.rule_attention import rule_attention
from unimodal.kernels.rule_statistics import NAMES, rule_attention_with_statistics

__all__ = ["main"]

WIDTH = 64


def main(arguments: list[str] | None = None) -> int:
    """Assert that outputs agree, time and print; exit code 1 if column sums cost over 10 %."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, options.heads, options.tokens, WIDTH) for _ in range(3))
    code = 0
    for rule in (Rule(), Rule("sigmoid", None)):
        plain = rule_attention(q, k, v, rule)
        made = rule_attention_with_statistics(q, k, v, rule)[0]
        assert (plain - made).abs().max() < 1e-5 * plain.abs().max(), rule
        asked = {"nothing": (), **{name: (name,) for name in NAMES}, "all three": NAMES}
        candidates: dict[str, Callable[[], Any]] = {"without": lambda rule=rule: rule_attention(q, k, v, rule)}
        for name, wanted in asked.items():
            candidates[name] = lambda rule=rule, wanted=wanted: rule_attention_with_statistics(
                q, k, v, rule, wanted=wanted
            )
        with torch.inference_mode():
            report = compare(
                f"attention_statistics-{rule.weights}",
                candidates,
                base="without",
                rounds=options.rounds,
                shape=list(q.shape),
                threads=1,
            )
        verdict = report.verdict("column_sums", 1 / 1.1)
        print(f"{rule.weights}: {verdict.outcome}: {verdict.reason}\n\n{report.table()}\n")
        code = code or verdict.exit_code
        if options.save:
            print(report.save())
    return code


if __name__ == "__main__":
    sys.exit(main())
