"""Claim: a transformer with unified norms learns within 2 points of one with layer norms, and folds without loss.

    python -m benchmarks.norm_learning [--steps 400] [--seeds 3] [--save]

Small transformers read handwritten digits of 8 x 8 px (scikit-learn's, a third held out) as 16 patches, with layer,
unified, batch and progressive batch norms. For one seed all see the same batches from the same first weights. Behind
the last step what can be folded is folded, and the test set is read again without norms. Exit code 1 when the unified
norm is further behind the layer norm than 2 points, or a folded model reads differently.
"""

import argparse
import math
import statistics
import sys
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from benchmarks.paired import save_rows
from unimodal.block import Block
from unimodal.ffns.plain import Plain
from unimodal.fold_norms import fold_norms
from unimodal.mixers.full import Full
from unimodal.norms.batch import BatchNorm
from unimodal.norms.layer import LayerNorm
from unimodal.norms.progressive_batch import ProgressiveBatchNorm
from unimodal.norms.unified import UnifiedNorm
from unimodal.part import Part
from unimodal.side import Side
from unimodal.tokens import Tokens
from unimodal.transformer import Transformer

__all__ = ["main"]

POINTS, WIDTH, DEPTH, BATCH = 2.0, 48, 4, 64


class Reader(nn.Module):
    """Patches of 2 x 2 px with places, a transformer, the mean token, ten logits."""

    def __init__(self, norm: Part) -> None:
        super().__init__()
        self.embed = nn.Linear(4, WIDTH)
        self.place = nn.Parameter(0.02 * torch.randn(16, WIDTH))
        block = Part(Block, mixer=Part(Full, heads=3), ffn=Part(Plain, ratio=2.0), norm=norm)
        self.core = Transformer(WIDTH, depth=DEPTH, blocks=block, norm=norm)
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        patches = pixels.unflatten(1, (4, 2)).unflatten(3, (4, 2)).transpose(2, 3).flatten(3).flatten(1, 2)
        return self.head(self.core(Tokens(self.embed(patches) + self.place, Side())).x.mean(1))


def digits() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Pictures (N, 8, 8) of mean about 0 and labels, two thirds to train on and one to test."""
    from sklearn.datasets import load_digits

    found: Any = load_digits()
    pixels = torch.tensor(found.images, dtype=torch.float32) / 8.0 - 0.6
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))
    pixels, labels = pixels[order], torch.tensor(found.target)[order]
    at = 2 * len(pixels) // 3
    return (pixels[:at], labels[:at]), (pixels[at:], labels[at:])


def learn(net: nn.Module, x: Tensor, y: Tensor, steps: int, seed: int) -> list[float]:
    """AdamW with a warm-up and a cosine; returns the losses."""
    draw, losses = torch.Generator().manual_seed(seed), []
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda t: min(1.0, (t + 1) / 20) * 0.5 * (1 + math.cos(math.pi * t / steps))
    )
    net.train()
    for _ in range(steps):
        at = torch.randint(len(x), (BATCH,), generator=draw)
        loss = F.cross_entropy(net(x[at]), y[at])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
    return losses


@torch.no_grad()
def logits(net: nn.Module, x: Tensor) -> Tensor:
    return net.eval()(x)


def main(arguments: list[str] | None = None) -> int:
    """Train, print a row a norm, and say whether the unified norm keeps up."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    train, (pixels, labels) = digits()
    norms = {
        "layer": Part(LayerNorm),
        "unified": Part(UnifiedNorm, warmup=options.steps // 10),
        "unified, filtered": Part(UnifiedNorm, warmup=options.steps // 10, filtered=True),
        "batch": Part(BatchNorm),
        "progressive batch": Part(ProgressiveBatchNorm, steps=options.steps // 2),
    }
    rows: list[dict[str, Any]] = []
    gap = 0.0
    for seed in range(options.seeds):
        for name, norm in norms.items():
            torch.manual_seed(seed)
            net = Reader(norm)
            losses, read = learn(net, *train, options.steps, seed), logits(net, pixels)
            row: dict[str, Any] = {"norm": name, "seed": seed, "finite": all(map(math.isfinite, losses))}
            row["accuracy"] = 100.0 * float((read.argmax(1) == labels).double().mean())
            row["last_loss"] = statistics.mean(losses[-20:])
            if name != "layer":
                folded = logits(fold_norms(net), pixels)
                row["folded_gap"] = float((folded - read).abs().max() / read.abs().max())
                gap = max(gap, row["folded_gap"])
            rows.append(row)
            print(row, flush=True)
    means = {name: statistics.mean(row["accuracy"] for row in rows if row["norm"] == name) for name in norms}
    for name, mean in means.items():
        print(f"{name}: {mean:.2f} % of {len(labels)} digits")
    if options.save:
        print(
            save_rows("norm_learning", ({"benchmark": "norm_learning", "steps": options.steps} | row for row in rows))
        )
    return 0 if means["unified"] >= means["layer"] - POINTS and gap < 1e-5 else 1


if __name__ == "__main__":
    sys.exit(main())
