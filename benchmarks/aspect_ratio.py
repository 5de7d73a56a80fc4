"""Deep and narrow or shallow and wide: latency and size at one total number of heads, batch 1, one thread.

    python -m benchmarks.aspect_ratio [--tokens 1024] [--rounds 7] [--save]

48 heads 64 wide in 6, 3, 2 or 1 layers of width 512, with an embedding of bytes in front, as in the paper's text
classification (Brown et al. 2022, arXiv:2210.00640, which reports 3.1 times on a processor and 1.4 times the size on
average over its tasks). Gated: one wide layer is not slower than six. Heads, their width and the total are asserted to
be the same first. What the models learn is not measured here.
"""

import argparse
import sys
from collections.abc import Callable
from functools import partial

import torch
import torch.nn as nn
from torch import Tensor

from benchmarks.paired import compare
from unimodal.encoding import BYTES
from unimodal.recipes.aspect_ratio import aspect_ratio
from unimodal.tokens import Tokens

__all__ = ["main"]

DIM, HEADS, LAYERS = 512, 48, (6, 3, 2, 1)


def classify(table: nn.Embedding, core: nn.Module, ids: Tensor) -> Tensor:
    """The mean of the tokens, (1, D)."""
    return core(Tokens(table(ids))).x.mean(1)


def main(arguments: list[str] | None = None) -> int:
    """Print sizes and times; the exit code says whether the wide model is not slower."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    table, ids = nn.Embedding(BYTES, DIM), torch.randint(BYTES, (1, options.tokens))
    runs: dict[str, Callable[[], Tensor]] = {}
    sizes: dict[str, int] = {}
    for layers in LAYERS:
        name = f"{layers} x {HEADS // layers}"
        core = aspect_ratio(HEADS, layers)(DIM).eval()
        assert sum(block.mixer.heads for block in core.blocks) == HEADS
        runs[name] = partial(classify, table, core, ids)
        sizes[name] = sum(p.numel() for p in (*table.parameters(), *core.parameters()))
    deep, wide = next(iter(runs)), list(runs)[-1]
    with torch.inference_mode():
        setting = {"tokens": options.tokens, "dim": DIM, "threads": 1, "parameters": sizes}
        report = compare(f"aspect_ratio-{options.tokens}", runs, base=deep, rounds=options.rounds, warmup=1, **setting)
        verdict = report.verdict(wide, 1.0)
    print(f"{verdict.outcome}: {verdict.reason}\n\n{report.table()}\n")
    for name, size in sizes.items():
        print(f"{name}: {size:,} parameters, {sizes[deep] / size:.2f} times smaller than {deep}")
    if options.save:
        print(report.save())
    return verdict.exit_code


if __name__ == "__main__":
    sys.exit(main())
