"""UniFormer tells which way a digit moves, and cannot once the frames of its training are shuffled.

    python -m benchmarks.uniformer_motion [--steps 120] [--save]

Clips of 8 frames of 32 px in which one of scikit-learn's handwritten digits moves left, right, up or down by 2 px a
frame, around the frame's edges, so that no frame by itself says anything about its direction; 1400 digits to train on,
397 others to test on. The network is the recipe with a block a stage and a quarter of the width. It is trained twice:
on the clips, and on the same with each clip's frames in a random order. The axis of a movement can be seen in any
order, its sense cannot: of those whose axis is told right, chance gets half. Goals: 90 % of the directions within 90
CPU seconds, and between 40 % and 60 % of the senses where the frames were shuffled.
"""

import argparse
import sys
import time
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.descent import descend
from benchmarks.paired import save_rows
from unimodal.recipes.uniformer import uniformer
from unimodal.sample import Batch

__all__ = ["main"]

FRAMES, SIDE, STEP, BATCH, GOAL, LIMIT_S = 8, 32, 2, 32, 0.9, 90.0
WAYS = torch.tensor([(0, -STEP), (0, STEP), (-STEP, 0), (STEP, 0)])  # left, right, up, down: rows and columns


def digits() -> Tensor:
    """The digits (N, 16, 16), twice their size, from 0 to 1."""
    from sklearn.datasets import load_digits

    held: Any = load_digits()
    return torch.tensor(held.images).float().div(16).repeat_interleave(2, 1).repeat_interleave(2, 2)


def moving(pictures: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Clips (N, 3, FRAMES, SIDE, SIDE) in which each picture moves one way, and the ways."""
    way = torch.randint(4, (len(pictures),), generator=draw)
    place = torch.randint(SIDE, (len(pictures), 1, 2), generator=draw) + torch.arange(FRAMES)[:, None] * WAYS[way, None]
    rows, columns = ((place[..., axis, None] + torch.arange(pictures.shape[1])) % SIDE for axis in (0, 1))
    clips = torch.zeros(len(pictures), FRAMES, SIDE, SIDE)
    clip, frame = torch.arange(len(pictures))[:, None, None, None], torch.arange(FRAMES)[:, None, None]
    clips[clip, frame, rows[..., :, None], columns[..., None, :]] = pictures[:, None]
    return (clips[:, None].expand(-1, 3, -1, -1, -1) - 0.1) / 0.3, way


def shuffled(clips: Tensor, draw: torch.Generator) -> Tensor:
    """Each clip's frames in an order of its own."""
    order = torch.rand(len(clips), FRAMES, generator=draw).argsort(1)
    return clips.gather(2, order[:, None, :, None, None].expand_as(clips))


def learn(candidate: str, *, steps: int, seed: int = 0) -> dict[str, Any]:
    """Train on moving digits, or on their frames in random orders, and test on ordered clips of other digits."""
    torch.manual_seed(seed)
    draw, pictures = torch.Generator().manual_seed(seed), digits()
    seen, unseen = pictures[:1400], pictures[1400:]
    sizes: dict[str, Any] = {"depths": (1, 1, 1, 1), "widths": (16, 32, 80, 128), "head_width": 16}
    model: Any = uniformer(modality="video", image=SIDE, frames=FRAMES, classes=4, **sizes)().train()

    def loss(step: int) -> Tensor:
        clips, way = moving(seen[torch.randint(len(seen), (BATCH,), generator=draw)], draw)
        clips = shuffled(clips, draw) if candidate == "shuffled" else clips
        return F.cross_entropy(model.embed(Batch("video", clips)), way)

    start, losses = time.process_time(), list(descend(model.parameters(), loss, steps=steps, rate=2e-3))
    trained_s = time.process_time() - start
    clips, way = moving(unseen, torch.Generator().manual_seed(99))
    model.eval()
    with torch.inference_mode():
        told = torch.cat([model.embed(Batch("video", part)).argmax(-1) for part in clips.split(BATCH)])
    axis = told // 2 == way // 2
    return {
        "candidate": candidate,
        "steps": steps,
        "seed": seed,
        "parameters": sum(p.numel() for p in model.parameters()),
        "loss": sum(losses[-10:]) / 10,
        "accuracy": float((told == way).float().mean()),
        "axis": float(axis.float().mean()),
        "sense": float((told == way)[axis].float().mean()),
        "cpu_s": trained_s,
    }


def main(arguments: list[str] | None = None) -> int:
    """Train both, print and keep the table; the exit code says whether the goals are met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows = []
    for candidate in ("in order", "shuffled"):
        rows.append(learn(candidate, steps=options.steps))
        print(rows[-1], flush=True)
    if options.save:
        print(save_rows("uniformer_motion", rows))
    order, chance = rows
    return int(order["accuracy"] < GOAL or order["cpu_s"] > LIMIT_S or not 0.4 <= chance["sense"] <= 0.6)


if __name__ == "__main__":
    sys.exit(main())
