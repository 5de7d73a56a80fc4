"""Attention rules in tiles beside eager torch and torch's fused softmax, float32, one thread.

    python -m benchmarks.attention_rules [--tokens 1024] [--heads 12] [--dtype float32] [--rounds 15] [--save]

Four comparisons, each with its goal as a ratio of CPU times: sigmoid against eager and against the fused softmax (0.75
of its speed in float32, 1.1 in bfloat16); the universal relative rule against eager; a Toeplitz bias against the fused
softmax with the gathered bias; a window of 128 against the fused softmax with a mask. Outputs are compared with
:func:`unimodal.kernels.rule_reference.reference` in float64 first.
"""

import argparse
import math
import sys
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.paired import compare, save_rows
from unimodal.kernels.rule import Rule
from unimodal.kernels.rule_attention import rule_attention
from unimodal.kernels.rule_reference import reference

__all__ = ["main"]

WIDTH, WINDOW = 64, 128
ERROR = {"float32": 5e-6, "bfloat16": 2e-2}  # of the largest value, from the operator's own table


def comparisons(q: Tensor, k: Tensor, v: Tensor) -> dict[str, dict[str, Any]]:
    """By name: the judge's output, what to time (the first is ours) and the goals against the others."""
    tokens, scale = q.shape[2], q.shape[-1] ** -0.5
    before, after = torch.randn(q.shape[1], 2 * tokens - 1), 1.0 + torch.randn(q.shape[1], 2 * tokens - 1) / 4.0
    offset = torch.arange(tokens) - torch.arange(tokens)[:, None]
    at, within = offset + tokens - 1, offset.abs() <= WINDOW
    sigmoid, window = Rule("sigmoid", None), Rule(window=WINDOW)

    def judged(rule: Rule, **terms: Tensor) -> Tensor:
        return reference(q.double(), k.double(), v.double(), rule, **terms)

    def universal() -> Tensor:
        logit = q @ k.mT * scale + before[:, at].to(q.dtype)
        return (logit.softmax(-1) * after[:, at].to(q.dtype)) @ v

    return {
        "sigmoid": {
            "judge": judged(sigmoid),
            "runs": {
                "sigmoid, tiles": lambda: rule_attention(q, k, v, sigmoid, implementation="require"),
                "sigmoid, eager": lambda: (q @ k.mT * scale - math.log(tokens)).sigmoid() @ v,
            },
            "beside": {"softmax, torch": lambda: F.scaled_dot_product_attention(q, k, v)},
            "goals": {"sigmoid, eager": 3.0, "softmax, torch": 0.75 if q.dtype == torch.float32 else 1.1},
        },
        "universal-relative": {
            "judge": judged(Rule(), before=before, after=after),
            "runs": {
                "universal, tiles": lambda: rule_attention(q, k, v, before=before, after=after),
                "universal, eager": universal,
            },
            "beside": {"softmax, torch": lambda: F.scaled_dot_product_attention(q, k, v)},
            "goals": {"universal, eager": 3.0},
        },
        "relative-bias": {
            "judge": judged(Rule(), before=before),
            "runs": {
                "bias, tiles": lambda: rule_attention(q, k, v, before=before),
                "bias gathered, torch": lambda: F.scaled_dot_product_attention(
                    q, k, v, attn_mask=before[None, :, at].to(q.dtype)
                ),
            },
            "beside": {},
            "goals": {"bias gathered, torch": 2.0},
        },
        "window": {
            "judge": judged(window),
            "runs": {
                "window, tiles": lambda: rule_attention(q, k, v, window),
                "window mask, torch": lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=within),
            },
            "beside": {},
            "goals": {"window mask, torch": 2.2},
        },
    }


def agree(runs: dict[str, Callable[[], Tensor]], judge: Tensor, dtype: str) -> None:
    """Raise an AssertionError where a candidate is further from the judge than rounding explains."""
    for name, run in runs.items():
        worst = float((run().double() - judge).abs().max() / judge.abs().max())
        allowed = ERROR[dtype] * (1.0 if "tiles" in name else 4.0)  # eager rounds every step
        assert worst < allowed, f"{name} differs from the judge by {worst:.1e} of the largest value"


def main(arguments: list[str] | None = None) -> int:
    """Assert that all agree, time them, print the tables; the exit code says whether every goal is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--dtype", choices=ERROR, default="float32")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    dtype, code, rows = getattr(torch, options.dtype), 0, []
    q, k, v = (torch.randn(1, options.heads, options.tokens, WIDTH).to(dtype) for _ in range(3))
    label = f"attention_rules-{options.dtype}"
    setting = {"shape": list(q.shape), "dtype": options.dtype, "threads": 1}
    with torch.inference_mode():
        for name, parts in comparisons(q, k, v).items():
            agree(parts["runs"], parts["judge"], options.dtype)
            candidates, ours = parts["runs"] | parts["beside"], next(iter(parts["runs"]))
            for base, goal in parts["goals"].items():
                report = compare(label, candidates, base=base, rounds=options.rounds, rule=name, **setting)
                verdict = report.verdict(ours, goal)
                print(f"{name} against {base}: {verdict.outcome}: {verdict.reason}\n\n{report.table()}\n")
                code = code or verdict.exit_code
                rows += report.rows()
    if options.save:
        print(save_rows(label, rows))
    return code


if __name__ == "__main__":
    sys.exit(main())
