"""Sigmoid attention learns text as softmax does if its weights start near 1 / n, and worse if they start near 1 / 2.

    python -m benchmarks.sigmoid_learning --save

A causal model of the bytes of Python's documentation (:mod:`benchmarks.byte_language`), the same but for the attention
rule: softmax; sigmoid with the level -log n; sigmoid with the level 0. The size of the first layer's mixed values
before training says why. Goal: with -log n within 2 % of softmax, and without it worse.
"""

import argparse
import sys

import torch
import torch.nn as nn

from benchmarks.byte_language import documentation, learn, of_bytes
from benchmarks.paired import save_rows
from unimodal.attention.sigmoid import SigmoidAttention
from unimodal.attention.softmax import SoftmaxAttention
from unimodal.block import Block
from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.positions.rotary import Rotary

DIM = 96
RULES = {
    "softmax": Part(SoftmaxAttention),
    "sigmoid, level -log n": Part(SigmoidAttention),
    "sigmoid, level 0": Part(SigmoidAttention, level=0.0),
}


def block(rule: Part) -> Part:
    """A pre-norm block with rotary positions and normed queries and keys, as the paper has them for text."""
    mixer = Part(Full, heads=3, attention=rule, position=Part(Rotary), norm=Part(LayerNorm))
    return Part(Block, mixer=mixer, ffn=Part(Plain, hidden=4 * DIM))


@torch.inference_mode()
def size_before_training(rule: Part, context: int) -> float:
    """Root mean square of what the first mixer's attention rule gives, over real text."""
    torch.manual_seed(0)
    model, seen = of_bytes(DIM, depth=1, blocks=block(rule)), []

    def keep(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        seen.append(output)

    model.get_submodule("core.blocks.0.mixer.attention").register_forward_hook(keep)
    model(documentation()[0][: 8 * context].view(8, context))
    return float(seen[0].square().mean().sqrt())


def main(arguments: list[str] | None = None) -> int:
    """Train all, print and keep the table; the exit code says whether the goal is met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--context", type=int, default=128)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows, means = [], {}
    for name, rule in RULES.items():
        size = size_before_training(rule, options.context)
        runs = [
            learn(name, block(rule), seed=seed, steps=options.steps, dim=DIM, context=options.context)
            for seed in range(options.seeds)
        ]
        means[name] = sum(run["bits_a_byte"] for run in runs) / len(runs)
        rows += [{"candidate": name, "size_before_training": round(size, 4), **run} for run in runs]
        print(f"{name}: {means[name]:.3f} bits a byte, values of size {size:.3f} before training")
    ratio = means["sigmoid, level -log n"] / means["softmax"]
    worse = means["sigmoid, level 0"] / means["sigmoid, level -log n"]
    print(f"with the level {100 * ratio - 100:+.1f} % of softmax's bits, without it {100 * worse - 100:+.1f} % of that")
    if options.save:
        print(save_rows("sigmoid_learning", ({k: v for k, v in row.items() if k != "curve"} for row in rows)))
    return 0 if ratio <= 1.02 and worse > 1.0 else 1


if __name__ == "__main__":
    sys.exit(main())
