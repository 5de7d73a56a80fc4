"""Claim: a vision transformer that slides to batch norms ends within 1 point of the one with layer norms.

    python -m benchmarks.slab_learning --data ../shared/data

Small vision transformers with simplified linear attention learn 10 classes of 32 x 32 colour pictures (CIFAR-10), once
with layer norms, once with batch norms from the first step, once with norms that slide from the former to the latter
with a skip. All see the same pictures in the same order from the same first weights. What slid is folded behind the
last step and counted again without norms. Exit code 1 when the claim does not hold.
"""

import argparse
import math
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.paired import RESULTS, save_rows
from benchmarks.shared_data import photos
from unimodal.attention.simplified_linear import SimplifiedLinearAttention
from unimodal.block import Block
from unimodal.ffns.plain import Plain
from unimodal.fold_norms import fold_norms
from unimodal.mixers.full import Full
from unimodal.model import Model
from unimodal.norms.batch import BatchNorm
from unimodal.norms.layer import LayerNorm
from unimodal.norms.progressive_batch import ProgressiveBatchNorm
from unimodal.part import Part
from unimodal.positions.learned import Learned
from unimodal.readouts.head import Head
from unimodal.readouts.mean import Mean
from unimodal.sample import Batch
from unimodal.stems.patch import PatchStem
from unimodal.tokenizers.image import Image
from unimodal.transformer import Transformer

__all__ = ["main"]

POINTS = 1.0


def model(norm: Part, dim: int, depth: int) -> Any:
    """A classifier of 32 px pictures in patches of 4 px."""
    grid, heads = (8, 8), dim // 32
    attention = Part(SimplifiedLinearAttention, heads=heads, width=32, grid=grid)
    block = Part(Block, mixer=Part(Full, heads=heads, attention=attention), ffn=Part(Plain, ratio=2.0), norm=norm)
    return Model(
        dim,
        tokenizers={"image": Part(Image, stem=Part(PatchStem, patch=4), size=32)},
        positions={"image": Part(Learned, grid=grid)},
        transformer=Part(Transformer, depth=depth, blocks=block, norm=norm),
        readout=Part(Head, pool=Part(Mean), width=10),
    )


def accuracy(net: Any, x: Tensor, y: Tensor) -> float:
    """Per cent of the pictures whose class is the largest output, in use."""
    net.eval()
    with torch.inference_mode():
        right = sum(
            int((net.embed(Batch("image", a)).argmax(1) == b).sum())
            for a, b in zip(x.split(500), y.split(500), strict=True)
        )
    return 100.0 * right / len(y)


def learn(net: Any, x: Tensor, y: Tensor, steps: int, batch: int, seed: int, rate: float) -> list[float]:
    """AdamW with a warm-up and a cosine over mirrored pictures; returns the losses."""
    draw = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.05)
    warm = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda t: min(1.0, (t + 1) / warm) * 0.5 * (1 + math.cos(math.pi * t / steps))
    )
    net.train()
    losses = []
    for _ in range(steps):
        at = torch.randint(len(x), (batch,), generator=draw)
        mirrored = torch.rand(batch, 1, 1, 1, generator=draw) < 0.5
        seen = x[at].where(~mirrored, x[at].flip(-1))
        loss = F.cross_entropy(net.embed(Batch("image", seen)), y[at], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
    return losses


def main(arguments: list[str] | None = None) -> int:
    """Train, print a row a norm, and say whether the sliding norm keeps up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds cifar10/")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--train", type=int, default=50_000)
    parser.add_argument("--test", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument(
        "--save", type=Path, nargs="?", const=RESULTS, help="write JSON, to benchmarks/results if empty"
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    train, test = (photos(options.data / "cifar10", name, getattr(options, name)) for name in ("train", "test"))
    norms = {
        "layer": Part(LayerNorm),
        "batch from the first step": Part(BatchNorm),
        "sliding to batch": Part(ProgressiveBatchNorm, steps=options.steps // 2),
    }
    rows: list[dict[str, Any]] = []
    for seed in range(options.seeds):
        for name, norm in norms.items():
            torch.manual_seed(seed)
            net = model(norm, options.dim, options.depth)
            losses = learn(net, *train, options.steps, options.batch, seed, options.rate)
            row = {"norm": name, "seed": seed, "accuracy": accuracy(net, *test)}
            row |= {"folded_accuracy": accuracy(fold_norms(net), *test) if name != "layer" else None}
            row |= {"last_loss": statistics.mean(losses[-50:]), "finite": all(map(math.isfinite, losses))}
            rows.append(row)
            print(row, flush=True)
    means = {name: statistics.mean(row["accuracy"] for row in rows if row["norm"] == name) for name in norms}
    for name, mean in means.items():
        print(f"{name}: {mean:.2f} % of {len(test[1])} test pictures")
    if options.save is not None:
        fixed = {key: getattr(options, key) for key in ("steps", "batch", "dim", "depth", "train", "test", "rate")}
        content = ({"benchmark": "slab_learning"} | fixed | row for row in rows)
        print(save_rows("slab_learning", content, options.save))
    return 0 if means["sliding to batch"] >= means["layer"] - POINTS else 1


if __name__ == "__main__":
    sys.exit(main())
