"""Claim: trained on three sizes at once, a small ResFormer reads sizes that it never saw better than a ViT of one size.

    python -m benchmarks.resformer [--data DIR] [--steps 600] [--seeds 3] [--only NAME ...] [--save]

DIR holds mnist_train.npz and mnist_test.npz (image, label); by default it is mnist in the folder of shared data.
Handwritten digits of 28 px, resized, as patches of 4 px. Trained at 16, 24 and 32 px with the consistency of
neighbouring sizes, or at 24 px alone with a learned table that is interpolated; then read at sizes from 12 to 48 px.
Beside them each idea is left out in turn, and there are controls: the table with three sizes, the single size for as
many tokens as three sizes have, and the single size with ResFormer's positions. For one seed all see the same digits in
the same order. Exit code 1 when the mean over seeds at 20 px or 40 px is not 5 points above the single size.
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
from unimodal.attention.local_values import LocalValues
from unimodal.attention.softmax import SoftmaxAttention
from unimodal.block import Block
from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.model import Model
from unimodal.norms.layer import LayerNorm
from unimodal.objectives.scale_consistency import ScaleConsistency
from unimodal.part import Part
from unimodal.positions.convolved_waves import ConvolvedWaves
from unimodal.positions.learned import Learned
from unimodal.readouts.class_token import ClassToken
from unimodal.readouts.head import Head
from unimodal.sample import Batch
from unimodal.size_window import size_window
from unimodal.stems.patch import PatchStem
from unimodal.tokenizers.image import Image
from unimodal.transformer import Transformer

__all__ = ["main"]

WIDTH, HEADS, DEPTH, PATCH, BATCH, POINTS = 48, 3, 3, 4, 16, 5.0
SEEN, ALONE, READ = (32, 24, 16), (24,), (12, 16, 20, 24, 28, 32, 40, 48)
UNSEEN = (20, 40)

WAVES, TABLE = Part(ConvolvedWaves), Part(Learned, grid=(ALONE[0] // PATCH, ALONE[0] // PATCH))
# name: sizes, positions, local values, weight of the consistency, sizes in a step (None: all)
RUNS: dict[str, tuple[tuple[int, ...], Part | None, bool, float, int | None]] = {
    "three sizes": (SEEN, WAVES, True, 1.0, None),
    "without consistency": (SEEN, WAVES, True, 0.0, None),
    "without global positions": (SEEN, None, True, 1.0, None),
    "without local positions": (SEEN, WAVES, False, 1.0, None),
    "two of the three a step": (SEEN, WAVES, True, 1.0, 2),
    "three sizes, interpolated table": (SEEN, TABLE, False, 0.0, None),
    "one size, interpolated table": (ALONE, TABLE, False, 0.0, None),
    "one size, interpolated table, as many tokens": (ALONE, TABLE, False, 0.0, None),
    "one size, resformer's positions": (ALONE, WAVES, True, 0.0, None),
}
OURS, CONTROL, LONGER = "three sizes", "one size, interpolated table", "one size, interpolated table, as many tokens"


def reader(position: Part | None, local: bool) -> Any:
    """A transformer of patches with a class token and ten logits."""
    attention = Part(LocalValues, width=WIDTH // HEADS) if local else Part(SoftmaxAttention)
    mixer = Part(Full, heads=HEADS, attention=attention)
    block = Part(Block, mixer=mixer, ffn=Part(Plain, ratio=2.0), norm=Part(LayerNorm))
    grey = Part(PatchStem, patch=PATCH, channels=1)
    return Model(
        WIDTH,
        tokenizers={"image": Part(Image, stem=grey, size=None, fit="native", mean=(0.5,), std=(0.5,))},
        positions={} if position is None else {"image": position},
        prefix=1,
        transformer=Part(Transformer, depth=DEPTH, blocks=block, norm=Part(LayerNorm)),
        readout=Part(Head, pool=Part(ClassToken), width=10),
    )


def at(x: Tensor, size: int) -> Batch:
    """The digits resized, smaller ones through a low-pass."""
    return Batch("image", F.interpolate(x, size=(size, size), mode="bilinear", antialias=True))


def learned(name: str, x: Tensor, y: Tensor, steps: int, seed: int) -> Any:
    """AdamW with a warm-up and a cosine."""
    sizes, position, local, weight, count = RUNS[name]
    torch.manual_seed(seed)
    model, objective = reader(position, local).train(), ScaleConsistency(weight=weight)
    draw = torch.Generator().manual_seed(seed)

    def loss(step: int) -> Tensor:
        chosen = torch.randint(len(x), (BATCH,), generator=draw)
        batches = [at(x[chosen], size) for size in size_window(sizes, step, count=count)]
        return objective(model, batches, y[chosen])

    for _ in descend(model.parameters(), loss, steps=steps, rate=2e-3, clip=5.0):
        pass
    return model.eval()


@torch.inference_mode()
def accuracy(model: Any, x: Tensor, y: Tensor, size: int) -> float:
    """Percent of the digits that are read rightly at a size."""
    found = torch.cat([model.embed(at(part, size)).argmax(1) for part in x.split(250)])
    return round(100.0 * float((found == y).double().mean()), 1)


def tokens(sizes: tuple[int, ...]) -> int:
    return sum((size // PATCH) ** 2 + 1 for size in sizes)


def main(arguments: list[str] | None = None) -> int:
    """Train, print accuracy by size, and say whether unseen sizes are read better."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED / "mnist")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=list(RUNS), default=list(RUNS))
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args(arguments)
    if not (options.data / "mnist_train.npz").is_file():
        parser.error(f"{options.data} has no mnist_train.npz; say with --data where it is")
    torch.set_num_threads(1)
    x, y = digits(options.data, "train")
    test_x, test_y = (t[:1000] for t in digits(options.data, "test"))
    rows: list[dict[str, Any]] = []
    for seed in range(options.seeds):
        for name in options.only:
            begun = time.process_time()
            steps = options.steps * tokens(SEEN) // tokens(ALONE) if name == LONGER else options.steps
            model = learned(name, x, y, steps, seed)
            spent = time.process_time() - begun
            read = {str(size): accuracy(model, test_x, test_y, size) for size in READ}
            rows.append({"candidate": name, "seed": seed, "steps": steps, "cpu_s": round(spent, 1), "accuracy": read})
            print(f"{name}, seed {seed}, {spent:.0f} s: {read}", flush=True)
    means = {
        name: {size: statistics.mean(r["accuracy"][str(size)] for r in rows if r["candidate"] == name) for size in READ}
        for name in options.only
    }
    for name, read in means.items():
        print(f"{name}: " + ", ".join(f"{size} px {share:.1f}" for size, share in read.items()))
    setting = {"trained_px": list(SEEN), "alone_px": list(ALONE), "digits": len(test_y), "threads": 1}
    if options.save:
        print(save_rows("resformer", ({"benchmark": "resformer", **setting, **row} for row in rows)))
    if not {OURS, CONTROL} <= set(means):
        return 0
    return 0 if all(means[OURS][size] >= means[CONTROL][size] + POINTS for size in UNSEEN) else 1


if __name__ == "__main__":
    sys.exit(main())
