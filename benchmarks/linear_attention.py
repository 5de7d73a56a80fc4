"""Linear attention beside torch's softmax attention and eager linear attention, float32, one thread.

    python -m benchmarks.linear_attention [--rounds 15] [--longest 32768] [--save]

Goals: normalised linear attention with relu features at least twice as fast as the fused softmax at 8 x 197 tokens and
nine times at 1024; time and memory of the causal form, with gradients, that grow with an exponent of at most 1.1.
Outputs are compared with :func:`unimodal.kernels.linear_reference.reference` in float64 first.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.paired import compare, exponent, memory_kb, save_rows
from unimodal.kernels.linear_attention import linear_attention
from unimodal.kernels.linear_reference import reference
from unimodal.kernels.linear_rule import LinearRule

__all__ = ["main"]

HEADS, WIDTH, STEEPEST = 12, 64, 1.1
SHAPES = {197: 8, 1024: 1, 4096: 1}  # rows by tokens
GOALS = {197: 2.0, 1024: 9.0}
RULES = {
    "relu": LinearRule("relu", normalised=True, eps=1e-6),
    "elu + 1": LinearRule("elu_plus_one", normalised=True, eps=1e-6),
    "elu without a denominator": LinearRule("elu"),
    "causal elu + 1": LinearRule("elu_plus_one", causal=True, normalised=True, eps=1e-6),
    "causal with decay": LinearRule(causal=True),
}


def eager(features: Callable[[Tensor], Tensor], q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """As written in the paper's listing."""
    q, k = features(q), features(k)
    return (q @ (k.mT @ v)) / (q @ k.sum(2)[..., None] + 1e-6)


def candidates(q: Tensor, k: Tensor, v: Tensor) -> dict[str, Callable[[], Tensor]]:
    decay = torch.log1p(-(2.0 ** -torch.linspace(5, 9, HEADS)))
    ours = {
        name: lambda rule=rule, name=name: linear_attention(
            q, k, v, rule, decay=decay if "decay" in name else None, implementation="require"
        )
        for name, rule in RULES.items()
    }
    for name, run in ours.items():
        x, y, z = (t[:1, :2].double() for t in (q, k, v))
        judge = reference(x, y, z, RULES[name], decay=decay[:2] if "decay" in name else None)
        worst = float((run()[:1, :2].double() - judge).abs().max() / judge.abs().max())
        assert worst < 2e-5, f"{name} differs from the judge by {worst:.1e} of the largest value"
    return ours | {
        "eager relu": lambda: eager(torch.relu, q, k, v),
        "eager elu + 1": lambda: eager(lambda x: F.elu(x) + 1.0, q, k, v),
        "softmax, torch": lambda: F.scaled_dot_product_attention(q, k, v),
        "causal softmax, torch": lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True),
    }


def growth(tokens: int) -> dict[str, float]:
    """CPU seconds and peak bytes of a causal call with gradients, of one head; in a process of its own."""
    code = f"import benchmarks.linear_attention as b; print(b._one_call({tokens}))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return json.loads(done.stdout.replace("'", '"'))


def _one_call(tokens: int) -> dict[str, float]:
    torch.set_num_threads(1)

    def run(n: int) -> float:
        q, k, v = (torch.randn(1, 4, n, WIDTH, requires_grad=True) for _ in range(3))
        begun = time.process_time()
        linear_attention(q, k, v, RULES["causal elu + 1"], implementation="require").sum().backward()
        return time.process_time() - begun

    run(256)
    before = memory_kb("VmHWM")
    spent = min(run(tokens) for _ in range(3))
    return {"tokens": tokens, "cpu_s": spent, "bytes": 1024 * (memory_kb("VmHWM") - before)}


def main(arguments: list[str] | None = None) -> int:
    """Assert that all agree, time them, print the tables; the exit code says whether every goal is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--longest", type=int, default=32768)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    code, rows = 0, []
    with torch.inference_mode():
        for tokens, count in SHAPES.items():
            q, k, v = (torch.randn(count, HEADS, tokens, WIDTH) for _ in range(3))
            setting = {"shape": list(q.shape), "dtype": "float32", "threads": 1}
            rounds = max(3, options.rounds // (4 if tokens > 1024 else 1))
            report = compare("linear_attention", candidates(q, k, v), base="softmax, torch", rounds=rounds, **setting)
            print(f"{count} x {tokens} tokens\n\n{report.table()}\n")
            if tokens in GOALS:
                verdict = report.verdict("relu", GOALS[tokens])
                print(f"relu against softmax: {verdict.outcome}: {verdict.reason}\n")
                code = code or verdict.exit_code
            rows += report.rows()
    lengths = [n for n in (1024 * 2**i for i in range(10)) if n <= options.longest]
    grown = [growth(n) for n in lengths]
    for what in ("cpu_s", "bytes"):
        slope = exponent(lengths, [max(row[what], 1.0e-9) for row in grown])
        print(f"{what} of a causal call with gradients grows with the exponent {slope:.2f} over {lengths} tokens")
        code = code or int(slope > STEEPEST)
        rows.append(
            {"benchmark": "linear_attention", "candidate": f"exponent of {what}", "value": slope, "runs": grown}
        )
    if options.save:
        print(save_rows("linear_attention", rows))
    return code


if __name__ == "__main__":
    sys.exit(main())
