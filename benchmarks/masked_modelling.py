"""Claim: filling in hidden patches teaches one encoder of pictures and volumes what a linear probe can read.

    python -m benchmarks.masked_modelling [--data DIR] [--steps 800] [--seeds 0 1 2] [--save]

DIR is the folder of shared data. Pictures are handwritten digits (MNIST, 28 x 28 px, patches of 7 x 7); volumes are
blocks of five CT and MR scans (16 x 48 x 48 voxels, boxes of 8 x 16 x 16; recipes/multimodal_data.py). One small
encoder sees either in turn, without labels, with half of the patches hidden, and fills in the pixels, or the pixels and
the gradient map. Then it is frozen, and a logistic regression on the mean token names the digit (of ten), and the
structure in the middle of a block (of five; the blocks are of a scan that nothing was trained on). The control is the
same encoder with its first, random weights; one seed gives all three the same ones, and the same batches.

Exit code 1 when in either dimension the mean over seeds with both targets is not 5 points above the random weights.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.descent import descend
from benchmarks.paired import save_rows
from benchmarks.shared_data import SHARED, digits
from recipes.multimodal_data import ct
from unimodal.gradient_target import GradientTarget
from unimodal.masked_decoder import MaskedDecoder
from unimodal.model import Model
from unimodal.objectives.masked_modelling import MaskedModelling
from unimodal.part import Part
from unimodal.pixel_target import PixelTarget
from unimodal.positions.sincos import SinCos
from unimodal.readouts.mean import Mean
from unimodal.recipes.pre_norm import pre_norm
from unimodal.sample import Batch
from unimodal.stems.patch import PatchStem
from unimodal.stems.tubelet import TubeletStem
from unimodal.tokenizers.ct import CT
from unimodal.tokenizers.image import Image
from unimodal.weighted import weighted

__all__ = ["main"]

POINTS, WIDTH, DEPTH, HEADS, RATE = 5.0, 96, 4, 4, 2e-3
FLAT, DEEP, MASKED = (1, 7, 7), (1, 8, 16, 16), 0.5
BATCH = {"image": 64, "ct": 32}
TARGETS: dict[str, dict[str, Part]] = {
    "pixels": {"pixels": Part(PixelTarget)},
    "pixels and gradient": {"pixels": Part(PixelTarget), "gradient": Part(GradientTarget)},
}
Labelled = tuple[Tensor, Tensor]


def encoder() -> Any:
    """One core for both kinds."""
    grey = Part(Image, stem=Part(PatchStem, patch=FLAT[1], channels=1), size=28, mean=(0.5,), std=(0.5,))
    return Model(
        WIDTH,
        tokenizers={
            "image": grey,
            "ct": Part(CT, stem=Part(TubeletStem, patch=DEEP[1:], channels=1), size=(16, 48, 48)),
        },
        positions={"image": Part(SinCos), "ct": Part(SinCos)},
        prefix=1,
        transformer=pre_norm(depth=DEPTH, heads=HEADS, hidden=2 * WIDTH),
        readout=Part(Mean),
    )


def held(folder: Path) -> dict[str, tuple[Tensor, Labelled, Labelled]]:
    """By modality: what to pretrain on, what the probe learns from, and what it is asked."""
    (x, y), (test_x, test_y) = (digits(folder / "mnist", split) for split in ("train", "test"))
    scans, tokenizer = ct(folder), encoder().tokenizer("ct")
    blocks = [tokenizer.collate([tokenizer.read(s) for s in part]).data for part in (scans.train, scans.test)]
    middle = [torch.tensor(part) for part in (scans.train_labels, scans.test_labels)]
    known = middle[0] >= 0
    return {
        "image": (x[:8000], (x[:2000], y[:2000]), (test_x[:2000], test_y[:2000])),
        "ct": (blocks[0], (blocks[0][known], middle[0][known]), (blocks[1], middle[1])),
    }


def pretrained(targets: Mapping[str, Part], data: dict, *, steps: int, seed: int) -> tuple[Any, float]:
    """The encoder and the mean loss of its last steps."""
    torch.manual_seed(seed)
    model = encoder()
    decoder = Part(MaskedDecoder, width=64, core=pre_norm(depth=1, heads=4, hidden=128))
    task = MaskedModelling(WIDTH, patches=(FLAT, DEEP), targets=targets, masked=MASKED, decoder=decoder)
    turn = weighted({name: len(parts[0]) for name, parts in data.items()}, {"image": 1, "ct": 1}, BATCH, seed)

    def loss(step: int) -> Tensor:
        torch.manual_seed(seed * 1_000_003 + step)
        name, indices = turn(step)
        return task(model, Batch(name, data[name][0][indices]))

    trained, losses = [*model.parameters(), *task.parameters()], []
    for value in descend(trained, loss, steps=steps, rate=RATE, warmup=0.1, clip=None):
        losses.append(value)
        if len(losses) % 100 == 0:
            print(f"\rseed {seed}, {' and '.join(targets)}: step {len(losses)}/{steps}", end="", file=sys.stderr)
    print(file=sys.stderr)
    return model, statistics.mean(losses[-50:])


def probed(model: Any, name: str, own: Labelled, asked: Labelled) -> float:
    """Percent of ``asked`` that a logistic regression on standardised embeddings of ``own`` names rightly."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model.eval()
    with torch.inference_mode():
        known, new = (
            torch.cat([model.embed(Batch(name, part)) for part in values.split(100)]).numpy()
            for values, _ in (own, asked)
        )
    line = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000))
    return 100.0 * float(line.fit(known, own[1].numpy()).score(new, asked[1].numpy()))


def main(arguments: list[str] | None = None) -> int:
    """Pretrain, probe, print a row a run, and say whether both dimensions gained."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    data, rows = held(options.data), []
    for seed in options.seeds:
        for name, targets in {"random": None, **TARGETS}.items():
            begun = time.process_time()
            torch.manual_seed(seed)
            model, loss = (
                (encoder(), None) if targets is None else pretrained(targets, data, steps=options.steps, seed=seed)
            )
            row: dict[str, Any] = {
                "benchmark": "masked_modelling",
                "weights": name,
                "seed": seed,
                "steps": options.steps,
                "last_loss": loss,
            }
            row |= {kind: probed(model, kind, own, asked) for kind, (_, own, asked) in data.items()}
            row["cpu_s"] = round(time.process_time() - begun, 1)
            rows.append(row)
            print(row, flush=True)
        if options.save:
            print(save_rows("masked_modelling", rows), flush=True)
    means = {
        name: {kind: statistics.mean(r[kind] for r in rows if r["weights"] == name) for kind in data}
        for name in ("random", *TARGETS)
    }
    for name, mean in means.items():
        print(f"{name}: {mean['image']:.1f} % of digits, {mean['ct']:.1f} % of blocks")
    gained = [means["pixels and gradient"][kind] - means["random"][kind] for kind in data]
    return 0 if min(gained) >= POINTS else 1


if __name__ == "__main__":
    sys.exit(main())
