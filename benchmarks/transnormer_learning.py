"""TransNormer learns text as softmax attention does, and better than linear attention with a denominator.

    python -m benchmarks.transnormer_learning --save

A causal model of the bytes of Python's documentation (:mod:`benchmarks.byte_language`), the same but for the attention
rules of its four layers: softmax; TransNormer T1 and T2 (two diagonal layers with blocks
of a quarter of the context, two norm layers); linear attention of elu + 1
with its denominator. Goals: the better TransNormer's perplexity at most 1.05 times that of softmax, below that of
linear attention, whose gradients' sizes vary more.
"""

import argparse
import statistics
import sys

import torch

from benchmarks.byte_language import learn
from benchmarks.paired import save_rows
from unimodal.attention.linear import LinearAttention
from unimodal.attention.softmax import SoftmaxAttention
from unimodal.block import Block
from unimodal.ffns.gated import Gated
from unimodal.mixers.full import Full
from unimodal.part import Part
from unimodal.positions.rotary import Rotary
from unimodal.recipes.transnormer import transnormer

__all__ = ["main"]

DIM, HEADS, DEPTH = 96, 3, 4


def uniform(rule: Part) -> tuple[Part, ...]:
    """Four layers of one rule, in blocks that differ from TransNormer's by nothing else."""
    mixer = Part(Full, heads=HEADS, attention=rule, position=Part(Rotary))
    return (Part(Block, mixer=mixer, ffn=Part(Gated, bias=True)),) * DEPTH


def layers(variant: str, block: int) -> tuple[Part, ...]:
    part = transnormer(variant=variant, depth=DEPTH, heads=HEADS, block=block, position=Part(Rotary))
    return part.kwargs["blocks"]


def main(arguments: list[str] | None = None) -> int:
    """Train all, print and keep the table; the exit code says whether the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    candidates = {
        "softmax": uniform(Part(SoftmaxAttention)),
        "TransNormer T1": layers("t1", options.context // 4),
        "TransNormer T2": layers("t2", options.context // 4),
        "linear, elu + 1 with a denominator": uniform(Part(LinearAttention)),
    }
    rows, bits, spread = [], {}, {}
    sizes = {"steps": options.steps, "dim": DIM, "depth": DEPTH, "context": options.context, "rows": 8}
    for name, blocks in candidates.items():
        runs = [learn(name, blocks, seed=seed, **sizes) for seed in range(options.seeds)]
        bits[name] = statistics.fmean(run["bits_a_byte"] for run in runs)
        spread[name] = statistics.fmean(run["gradient_norm_std"] for run in runs)
        rows += [{"candidate": name, "context": options.context, **run} for run in runs]
        print(f"{name}: {bits[name]:.3f} bits a byte, sizes of gradients vary by {spread[name]:.3f}")
    softmax, first, second, linear = candidates
    best = min((first, second), key=bits.__getitem__)
    met = {
        "perplexity within 5 % of softmax": 2.0 ** (bits[best] - bits[softmax]) <= 1.05,
        "better than linear attention": bits[best] < bits[linear],
        "steadier gradients than linear attention": spread[best] < spread[linear],
    }
    print(f"{best}: perplexity {2.0 ** (bits[best] - bits[softmax]):.3f} times that of softmax; {met}")
    if options.save:
        print(save_rows("transnormer_learning", ({k: v for k, v in row.items() if k != "curve"} for row in rows)))
    return 0 if all(met.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
