"""Claim: points read by a frozen model of pictures, guided by space, beat its linear probe, and need its positions.

    python -m benchmarks.any2point [--steps 200] [--seeds 3] [--save]

Ten classes of made shapes (boxes, cones, tubes, tables ...) in any proportion, turned about the upright axis, as 64
noisy points. The embedded picture encoder, trained on CIFAR-10, is frozen; its own table of 8 x 8 positions serves the
views. Every arm begins as a linear probe of itself; for one seed all see the same clouds in the same order. Intervals
are of 95 %: over the test clouds, each with its mean over seeds, in pairs where arms are compared. Exit code 1
where the lower end of the guided arm's lead over the probe, or over a random table, is not above 0.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from benchmarks.paired import save_rows
from unimodal.model import Model
from unimodal.part import Part
from unimodal.pretrained import load_with_info
from unimodal.recipes.any2point import any2point
from unimodal.sample import Batch
from unimodal.transplant import transplant

__all__ = ["main"]

TRAIN, TEST, BATCH = 60, 60, 32  # clouds of a class, clouds of a step
POINTS, GROUPS = 64, 16
NOISE, DECAY = 0.02, 1e-3  # share of a shape's size; of the probe's weights

# what is trained around the source, its table of positions and its blocks
ARMS: dict[str, dict[str, Any]] = {
    "linear probe": {"probe": True},
    "guided": {},
    "random table": {"table": "random"},
    "without guidance": {"scale": 0.0, "share": 0.0},
}


def shapes(draw: np.random.Generator) -> dict[str, Callable[[], Any]]:
    """A maker of meshes of each class, in random proportions."""
    import trimesh
    from trimesh.creation import annulus, box, capsule, cone, cylinder, icosphere, torus

    def size(low: float = 0.4, high: float = 1.0) -> float:
        return float(draw.uniform(low, high))

    def at(mesh: Any, *place: float) -> Any:
        return mesh.apply_translation(place)

    def ellipsoid() -> Any:
        return icosphere(subdivisions=3).apply_scale([size(), size(), size()])

    def table() -> Any:
        long, wide, high, thick = size(), size(), size(), 0.12
        legs = [at(box((thick, thick, high)), x * long / 2, y * wide / 2, -high / 2) for x in (-1, 1) for y in (-1, 1)]
        return trimesh.util.concatenate([box((1.2 * long, 1.2 * wide, thick)), *legs])

    def stairs() -> Any:
        deep, wide, high = size(0.2, 0.4), size(), size(0.1, 0.3)
        return trimesh.util.concatenate(
            [at(box((deep, wide, high * (i + 1))), i * deep, 0, high * (i + 1) / 2) for i in range(4)]
        )

    def dumbbell() -> Any:
        long, ball = size(0.8, 1.6), size(0.25, 0.5)
        ends = [at(icosphere(subdivisions=2, radius=ball), 0, 0, z * long / 2) for z in (-1, 1)]
        return trimesh.util.concatenate([cylinder(radius=0.4 * ball, height=long), *ends])

    return {
        "box": lambda: box((size(), size(), size())),
        "ellipsoid": ellipsoid,
        "cylinder": lambda: cylinder(radius=size(0.2, 0.6), height=size()),
        "cone": lambda: cone(radius=size(0.2, 0.6), height=size()),
        "capsule": lambda: capsule(radius=size(0.2, 0.5), height=size()),
        "torus": lambda: torus(major_radius=size(0.5, 1.0), minor_radius=size(0.1, 0.3)),
        "tube": lambda: annulus(r_min=size(0.2, 0.4), r_max=size(0.5, 0.7), height=size()),
        "table": table,
        "stairs": stairs,
        "dumbbell": dumbbell,
    }


def clouds(count: int, seed: int) -> tuple[list[np.ndarray], Tensor]:
    """``count`` clouds of each class, turned about the upright axis and with noise, and their labels."""
    import trimesh

    draw, found, labels = np.random.default_rng(seed), [], []
    for label, make in enumerate(shapes(draw).values()):
        for _ in range(count):
            points = np.asarray(trimesh.sample.sample_surface(make(), 512, seed=int(draw.integers(2**31)))[0])
            points = points @ turn(float(draw.uniform(0, 2 * math.pi))).numpy().astype(np.float64)
            extent = np.ptp(points, axis=0).max()
            found.append(points + NOISE * extent * draw.standard_normal(points.shape))
            labels.append(label)
    return found, torch.tensor(labels)


def turn(angle: float) -> Tensor:
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


class Reader(nn.Module):
    """The model of one arm and a linear classifier behind its readout."""

    def __init__(self, source: Model, part: Part, classes: int, arm: dict[str, Any]) -> None:
        super().__init__()
        given = {key: arm[key] for key in ("scale", "share") if key in arm}
        self.model = any2point(part, points=POINTS, groups=GROUPS, neighbours=12, voxel=0.3, **given)()
        transplant(self.model, source)
        position: Any = self.model.transformer.source.position  # pyright: ignore[reportAttributeAccessIssue]
        table: Any = source.positions["image"].get_parameter("table").detach()
        with torch.no_grad():
            position.table.copy_(torch.randn_like(table) * table.std() if "table" in arm else table)
        self.head = nn.Linear(2 * part.kwargs["dim"], classes)

    def forward(self, clouds: Tensor) -> Tensor:
        return self.head(self.model.embed(Batch("point_cloud", clouds)))


def learn(net: nn.Module, x: Tensor, y: Tensor, steps: int, seed: int) -> None:
    """AdamW with a warm-up and a cosine; clouds are turned and scaled again each time they are seen."""
    draw = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda t: min(1.0, (t + 1) / 10) * 0.5 * (1 + math.cos(math.pi * t / steps))
    )
    net.train()
    for _ in range(steps):
        at = torch.randint(len(x), (BATCH,), generator=draw)
        angle, size = torch.rand(2, generator=draw).tolist()
        loss = F.cross_entropy(net((0.9 + 0.2 * size) * x[at] @ turn(2 * math.pi * angle)), y[at])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def probe(net: Reader, x: Tensor, y: Tensor) -> None:
    """The classifier alone, to its optimum, on features that are brought to one scale.

    The running averages of norms are set first, so that what the probe reads is what use and training give.
    """
    with torch.no_grad():
        net.train()
        for part in x[torch.randperm(len(x))].split(BATCH):
            net(part)
        net.eval()
        z = torch.cat([net.model.embed(Batch("point_cloud", part)) for part in x.split(64)])
    mean, scale = z.mean(0), z.std(0).clamp(min=1e-6)
    w, b = (torch.zeros_like(p, requires_grad=True) for p in (net.head.weight, net.head.bias))
    optimizer = torch.optim.LBFGS([w, b], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        total = F.cross_entropy(F.linear((z - mean) / scale, w, b), y) + DECAY * w.square().sum()
        total.backward()
        return total

    optimizer.step(loss)  # pyright: ignore[reportArgumentType]
    with torch.no_grad():
        net.head.weight.copy_(w / scale)
        net.head.bias.copy_(b - w @ (mean / scale))


@torch.no_grad()
def right(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """1 for each cloud that is told rightly, else 0."""
    return (torch.cat([net(part) for part in x.split(64)]).argmax(-1) == y).double()


def interval(values: Tensor) -> list[float]:
    """Mean and the ends of its 95 % interval, in percent."""
    mean, half = float(values.mean()), 1.96 * float(values.std()) / len(values) ** 0.5
    return [round(100 * v, 2) for v in (mean, mean - half, mean + half)]


def main(arguments: list[str] | None = None) -> int:
    """Train, print a row an arm, and say whether the guided arm leads."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    source, info = load_with_info("unimodal:small_image_encoder")
    tokenizer: Any = any2point(info.part, points=POINTS, groups=GROUPS)().tokenizer("point_cloud")
    sets = [clouds(count, seed) for count, seed in ((TRAIN, 0), (TEST, 1))]
    (x, y), (asked, answers) = (
        (torch.stack([tokenizer.read(cloud).data for cloud in found]), labels) for found, labels in sets
    )
    classes, rows = int(y.max()) + 1, []
    told: dict[str, list[Tensor]] = {name: [] for name in ARMS}
    for seed in range(options.seeds):
        for name, arm in ARMS.items():
            start = time.process_time()
            torch.manual_seed(seed)
            net = Reader(source, info.part, classes, arm)  # pyright: ignore[reportArgumentType]
            probe(net, x, y)
            if "probe" not in arm:
                learn(net, x, y, options.steps, seed)
            told[name].append(right(net.eval(), asked, answers))
            print(seed, name, f"{100 * told[name][-1].mean():.2f} % in {time.process_time() - start:.0f} s", flush=True)
        rows = compared(told)
        if options.save:
            sizes = {"classes": classes, "train_clouds": len(y), "test_clouds": len(answers), "steps": options.steps}
            print(save_rows("any2point", ({"benchmark": "any2point", **sizes, **row} for row in rows)), flush=True)
    for row in rows:
        print(row)
    leads = {row["arm"]: row["lead_of_guided"] for row in rows}
    return 0 if min(leads["linear probe"][1], leads["random table"][1]) > 0 else 1


def compared(told: dict[str, list[Tensor]]) -> list[dict[str, Any]]:
    """A row an arm: accuracy, that of each seed, and the lead of the guided arm over it, in percent."""
    means = {name: torch.stack(found).mean(0) for name, found in told.items()}
    return [
        {
            "arm": name,
            "accuracy": interval(means[name]),
            "of_seeds": [round(100 * float(values.mean()), 2) for values in found],
            "lead_of_guided": interval(means["guided"] - means[name]),
        }
        for name, found in told.items()
    ]


if __name__ == "__main__":
    sys.exit(main())
