"""Windows of attention beside torch's fused softmax with a mask, in chunks, and compiled flex_attention; one thread.

    python -m benchmarks.windows [--tokens 1024] [--window 128] [--heads 12] [--rounds 15] [--flex] [--save]

Goals as ratios of CPU times, float32, outputs alone: 2.2 times the fused softmax with a mask at 1024 tokens and 6 times
at 4096, and no slower than compiled flex_attention, which takes minutes to compile and is asked for with ``--flex``.
Outputs are compared with :func:`unimodal.kernels.rule_reference.reference` in float64 first.
"""

import argparse
import sys
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.paired import compare
from unimodal.kernels.rule import Rule
from unimodal.kernels.rule_attention import rule_attention
from unimodal.kernels.rule_reference import reference
from unimodal.kernels.window_attention import choose, window_attention

__all__ = ["main"]

WIDTH, CHUNK = 64, 128
MASKED, OURS, FLEX = "fused softmax with a mask", "window", "flex_attention, compiled"


def chunked(q: Tensor, k: Tensor, v: Tensor, window: int) -> Tensor:
    """What a user can write: one call of the fused softmax a chunk of queries, over the keys that it may see."""
    outs, tokens = [], q.shape[2]
    for start in range(0, tokens, CHUNK):
        stop = min(start + CHUNK, tokens)
        first, last = max(0, start - window), min(tokens, stop + window)
        near = (torch.arange(first, last) - torch.arange(start, stop)[:, None]).abs() <= window
        part = (q[:, :, start:stop], k[:, :, first:last], v[:, :, first:last])
        outs.append(F.scaled_dot_product_attention(*part, attn_mask=near))
    return torch.cat(outs, dim=2)


def flex(tokens: int, window: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """flex_attention with a block mask of the window, compiled."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    def near(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (query - key).abs() <= window

    blocks = create_block_mask(near, None, None, tokens, tokens, device="cpu")
    compiled = torch.compile(flex_attention, dynamic=False)
    return lambda q, k, v: compiled(q, k, v, block_mask=blocks)


def main(arguments: list[str] | None = None) -> int:
    """Assert that all agree, time them, print the table; the exit code says whether the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--window", type=int, default=128)
    parser.add_argument("--heads", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--flex", action="store_true")
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    n, w = options.tokens, options.window
    q, k, v = (torch.randn(1, n, options.heads, WIDTH).transpose(1, 2) for _ in range(3))
    within = (torch.arange(n) - torch.arange(n)[:, None]).abs() <= w
    runs: dict[str, Callable[[], Tensor]] = {
        OURS: lambda: window_attention(q, k, v, w, implementation="require"),
        "tiles": lambda: rule_attention(q, k, v, Rule(window=w), implementation="require"),
        "fused softmax in chunks": lambda: chunked(q, k, v, w),
        MASKED: lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=within),
    }
    code = 0
    with torch.inference_mode():
        if options.flex:
            compiled = flex(n, w)
            runs[FLEX] = lambda: compiled(q, k, v)
        two = slice(0, 2)
        judge = reference(q[:, two].double(), k[:, two].double(), v[:, two].double(), Rule(window=w))
        for name, run in runs.items():
            worst = float((run()[:, :2].double() - judge).abs().max() / judge.abs().max())
            assert worst < 5e-6, f"{name} differs from the judge by {worst:.1e} of the largest value"
        goals = {MASKED: 2.2 if n < 4096 else 6.0} | ({FLEX: 1.0} if options.flex else {})
        for base, goal in goals.items():
            setting = {"shape": list(q.shape), "window": w, "threads": 1, "chosen": choose(q, k, v, w).implementation}
            report = compare(f"windows-{n}", runs, base=base, rounds=options.rounds, **setting)
            verdict = report.verdict(OURS, goal)
            print(f"against {base}: {verdict.outcome}: {verdict.reason}\n\n{report.table()}\n")
            code = code or verdict.exit_code
            if options.save and base == list(goals)[-1]:
                print(report.save())
    return code


if __name__ == "__main__":
    sys.exit(main())
