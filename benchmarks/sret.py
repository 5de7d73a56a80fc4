"""Claim: a recursive transformer reads digits better than one of as many parameters whose blocks are applied once.

    python -m benchmarks.sret [--data DIR] [--steps 1000] [--seeds 3] [--only NAME ...] [--save]

DIR holds mnist_train.npz and mnist_test.npz (image, label); by default it is mnist in the folder of shared data.
Handwritten digits of 28 px in patches of 7 px, few of them. The recursive one applies its block twice, with a small map
behind each time. The other applies the same block once, with both of its maps behind it: the same weights from the same
seed, and the same digits in the same order. On demand beside them: the second application on slices of permuted tokens,
and no maps behind, so that loops are told apart by nothing. Exit code 1 when the mean over seeds is not above that of
the one that is not recursive.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.descent import descend
from benchmarks.paired import save_rows
from benchmarks.shared_data import SHARED, digits
from unimodal.chain import Chain
from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.model import Model
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.positions.learned import Learned
from unimodal.readouts.head import Head
from unimodal.readouts.mean import Mean
from unimodal.recipes.sliced_recursive import sliced_recursive
from unimodal.sample import Batch
from unimodal.stems.patch import PatchStem
from unimodal.tokenizers.image import Image
from unimodal.transformer import Transformer
from unimodal.weighted_residual import WeightedResidual

__all__ = ["main"]

WIDTH, HEADS, BLOCKS, PATCH, BATCH, RATIO = 48, 3, 1, 7, 32, 2.0

MIXING, FEEDING, BEHIND = (
    Part(WeightedResidual, branch=branch)
    for branch in (Part(Full, heads=HEADS), Part(Plain, ratio=RATIO), Part(Plain, ratio=1.0))
)
LOOPS, ONCE, SLICED, BARE = "recursive", "not recursive", "recursive in slices", "recursive without maps behind"
CORES: dict[str, Part] = {
    LOOPS: sliced_recursive(depth=BLOCKS, heads=HEADS, groups=(1, 1), ratio=RATIO),
    ONCE: Part(Transformer, depth=BLOCKS, blocks=Part(Chain, parts=(MIXING, FEEDING, BEHIND, BEHIND))),
    SLICED: sliced_recursive(depth=BLOCKS, heads=HEADS, groups=(1, 2), ratio=RATIO),
    BARE: Part(Transformer, depth=2 * BLOCKS, shared=2, blocks=Part(Chain, parts=(MIXING, FEEDING))),
}


def reader(core: Part) -> Any:
    """A model of grey pictures with ten logits."""
    stem = Part(PatchStem, patch=PATCH, channels=1)
    return Model(
        WIDTH,
        tokenizers={"image": Part(Image, stem=stem, size=28, mean=(0.5,), std=(0.5,))},
        positions={"image": Part(Learned, grid=(28 // PATCH, 28 // PATCH))},
        transformer=core,
        readout=Part(Head, pool=Part(Mean), norm=Part(LayerNorm), width=10),
    )


def learned(core: Part, x: Tensor, y: Tensor, steps: int, seed: int) -> Any:
    """AdamW with a warm-up and a cosine."""
    torch.manual_seed(seed)
    model, draw = reader(core).train(), torch.Generator().manual_seed(seed)

    def loss(step: int) -> Tensor:
        chosen = torch.randint(len(x), (BATCH,), generator=draw)
        return F.cross_entropy(model.embed(Batch("image", x[chosen])), y[chosen])

    for _ in descend(model.parameters(), loss, steps=steps, rate=2e-3):
        pass
    return model.eval()


@torch.inference_mode()
def accuracy(model: Any, x: Tensor, y: Tensor) -> float:
    """Per cent of the digits that are read rightly."""
    found = torch.cat([model.embed(Batch("image", part)).argmax(1) for part in x.split(250)])
    return round(100.0 * float((found == y).double().mean()), 2)


def main(arguments: list[str] | None = None) -> int:
    """Train, print accuracy by candidate, and say whether the recursive one reads better."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED / "mnist")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--digits", type=int, default=2000, help="how many are read after training")
    parser.add_argument("--only", nargs="+", choices=list(CORES), default=[LOOPS, ONCE])
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args(arguments)
    if not (options.data / "mnist_train.npz").is_file():
        parser.error(f"{options.data} has no mnist_train.npz; say with --data where it is")
    torch.set_num_threads(1)
    x, y = digits(options.data, "train")
    test_x, test_y = (t[: options.digits] for t in digits(options.data, "test"))
    rows: list[dict[str, Any]] = []
    for seed in range(options.seeds):
        for name in options.only:
            begun = time.process_time()
            model = learned(CORES[name], x, y, options.steps, seed)
            spent, read = time.process_time() - begun, accuracy(model, test_x, test_y)
            parameters = sum(p.numel() for p in model.parameters())
            rows.append(
                {"candidate": name, "seed": seed, "parameters": parameters, "cpu_s": round(spent, 1), "accuracy": read}
            )
            print(f"{name}, seed {seed}, {parameters} parameters, {spent:.0f} s: {read} %", flush=True)
    means = {
        name: statistics.mean(row["accuracy"] for row in rows if row["candidate"] == name) for name in options.only
    }
    print("\n".join(f"{name}: {mean:.2f} % of {len(test_y)} digits" for name, mean in means.items()))
    if options.save:
        setting = {"benchmark": "sret", "steps": options.steps, "batch": BATCH, "digits": len(test_y), "threads": 1}
        print(save_rows("sret", ({**setting, **row} for row in rows)))
    if not {LOOPS, ONCE} <= set(means):
        return 0
    return 0 if means[LOOPS] > means[ONCE] else 1


if __name__ == "__main__":
    sys.exit(main())
