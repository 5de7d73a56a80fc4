"""What a core that learned elsewhere is worth: tokenizer and head on a frozen core, beside random and from scratch.

    unimodal bench transfer -- --data DIR --run DIR [--only "spoken digits" ...] [--arms random ...] [--save]

DIR (data) is the folder of recipes/multimodal_data.py. For every problem (benchmarks/transfer_sets.py, and ETTh1: four
days from four days) and seed, each arm gets the same tokenizer and linear head at the same start, the same batches and
the same number of steps:
    random     the core as its constructor left it, frozen
    scratch    the same core, trained with the rest
    pictures   the core of small_image_encoder (CIFAR-10 alone), frozen: it never saw another modality
    low rank   the same with trained low-rank terms in its attention
    guided     the same read by points through the pictures' positions, with guided adapters (point clouds alone; 256
               of their points)
    joint      the core of small_multimodal_encoder, frozen; it learned from the training inputs of most problems, too
    shipped    small_multimodal_encoder as it is, core and tokenizer frozen, under one linear layer
A run is kept in RUN as soon as it is done, and an interrupted command goes on; ``--save`` writes all that RUN holds to
benchmarks/results/ and the page docs/transfer.md.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from benchmarks.descent import descend
from benchmarks.paired import save_rows
from benchmarks.transfer_sets import PROBLEMS, ROOT, Problem, recipes
from unimodal.low_rank import adapt
from unimodal.objectives.completed_series import CompletedSeries
from unimodal.part import Part
from unimodal.pretrained import load, load_with_info
from unimodal.readouts.mean import Mean
from unimodal.recipes.any2point import any2point
from unimodal.recipes.small_multimodal_encoder import small_multimodal_encoder
from unimodal.training import shuffled
from unimodal.transplant import transplant

__all__ = ["main"]

HOURS, OF_POINTS = "hours of ETTh1", ("voxel shapes", "turned objects")
ARMS = ("random", "scratch", "pictures", "joint", "shipped", "low rank", "guided")
STEPS, BATCH, RATE, SEEDS, RANK = 150, 16, 2e-3, 3, 4
OF_MANY_TOKENS = {"video": 4, "hyperspectral": 4}  # inputs a step of these modalities


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing; 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the data sets")
    parser.add_argument("--run", type=Path, required=True, help="keeps every run; a command goes on with what is there")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[*PROBLEMS, HOURS],
        default=[*PROBLEMS, HOURS],
        metavar="PROBLEM",
        help=", ".join([*PROBLEMS, HOURS]),
    )
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS), metavar="ARM", help=", ".join(ARMS))
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--save", action="store_true", help="write the results and the page")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    for name in options.only:
        missing = list(_missing(options, name))
        if not missing:
            continue
        print(f"{name}: {len(missing)} runs", flush=True)
        held = Hours(options.data) if name == HOURS else Answers(PROBLEMS[name](options.data))
        for arm, seed, path in missing:
            row = {"problem": name, "arm": arm, "seed": seed, **held.about, **run(held, arm, seed, options.steps)}
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(row) + "\n")
            print(f"{name}, {arm}, seed {seed}: {row['score']:.4g}, {row['spent_s']:.0f} s", flush=True)
    if options.save:
        rows = [json.loads(path.read_text()) for path in sorted(options.run.glob("*/*.json"))]
        print(save_rows("transfer", rows))
        sys.path.insert(0, str(ROOT / "docs"))
        import make_transfer  # pyright: ignore[reportMissingImports]

        print(make_transfer.write())
    return 0


class Answers:
    """A problem whose answers are classes; the score is the share of right ones."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.modality = problem, problem.modality
        self.labels, self.wanted = torch.tensor(problem.train_labels), torch.tensor(problem.test_labels)
        self.classes = int(self.labels.max()) + 1
        self.about = {
            "modality": self.modality, "question": problem.question, "metric": "accuracy",
            "train": len(problem.train), "test": len(problem.test), "chance": round(problem.chance, 4),
        }  # fmt: skip
        self._samples: dict[str, list[Any]] = {}

    def head(self, dim: int) -> nn.Module:
        """One linear layer."""
        return nn.Linear(dim, self.classes)

    def samples(self, tokenizer: Any, split: str) -> list[Any]:
        """Read once: tokenizers of one kind and one number of points read alike."""
        key = f"{split} {getattr(tokenizer, 'points', '')}"
        if key not in self._samples:
            self._samples[key] = [tokenizer.read(source) for source in getattr(self.problem, split)]
        return self._samples[key]

    def __len__(self) -> int:
        return len(self.problem.train)

    def loss(self, model: Any, head: Any, indices: Tensor) -> Tensor:
        """Cross-entropy of a batch."""
        tokenizer = model.tokenizer(self.modality)
        samples = self.samples(tokenizer, "train")
        batch = tokenizer.collate([samples[i] for i in indices.tolist()])
        return F.cross_entropy(head(model.embed(batch)), self.labels[indices])

    def vectors(self, model: Any, split: str) -> Tensor:
        """What the model makes of every input of a split."""
        tokenizer = model.tokenizer(self.modality)
        samples = self.samples(tokenizer, split)
        chunks = [samples[i : i + BATCH] for i in range(0, len(samples), BATCH)]
        return torch.cat([model.embed(tokenizer.collate(chunk)) for chunk in chunks])

    def scores(self, model: Any, head: Any) -> list[float]:
        """1 or 0 for each test input."""
        return (head(self.vectors(model, "test")).argmax(-1) == self.wanted).float().tolist()


class Hours:
    """Four days of ETTh1 from the four before; the score is the mean squared error, in units of the training months."""

    modality = "time_series"

    def __init__(self, data: Path) -> None:
        self.parts = {split: recipes("joint_sets").Series(data, None, split) for split in ("train", "test")}
        self.unit = torch.from_numpy(self.parts["train"].values.std(0))[:, None]
        self.starts = range(0, len(self.parts["test"]), 48)
        self.about = {"modality": "time_series", "question": "four days from the four before", "metric": "mse"}
        self.about |= {"train": len(self), "test": len(self.starts)}

    def head(self, dim: int) -> nn.Module:
        """One linear map of each token."""
        return CompletedSeries(dim)

    def __len__(self) -> int:
        return len(self.parts["train"])

    def loss(self, model: Any, head: Any, indices: Tensor) -> Tensor:
        """Of the hours that are asked for."""
        return head(model, *self._windows(model, "train", indices.tolist())[:2])

    def scores(self, model: Any, head: Any) -> list[float]:
        """The mean squared error of each window."""
        found = []
        for i in range(0, len(self.starts), BATCH):
            batch, values, scale = self._windows(model, "test", self.starts[i : i + BATCH])
            wrong = (head.completed(model, batch) - values) * scale / self.unit
            found += wrong[batch.data.isnan()].square().unflatten(0, (len(values), -1)).mean(1).tolist()
        return found

    def _windows(self, model: Any, split: str, starts: Any) -> tuple[Any, Tensor, Tensor]:
        part = self.parts[split]
        part.tokenizer = model.tokenizer(self.modality)
        ((batch, values),) = part.parts(starts)
        return batch, values, torch.tensor([record.scale for record in batch.records])[..., None]


def run(held: Any, arm: str, seed: int, steps: int) -> dict[str, Any]:
    """One arm with one seed: what it reached, and what it took."""
    start = time.process_time()
    torch.manual_seed(seed)
    model: Any = _model(held.modality)
    head = held.head(model.dim)
    prepared = PREPARE[arm](model, held.modality)
    trained = [p for p in (*prepared.parameters(), *head.parameters()) if p.requires_grad]
    whole = sum(p.numel() for p in (*prepared.parameters(), *head.parameters()))
    prepared.eval()
    if arm == "shipped" and isinstance(held, Answers):
        with torch.no_grad():
            found = recipes("multimodal_probes").probed(
                held.vectors(prepared, "train"), held.labels, held.vectors(prepared, "test")
            )
        scores, steps = (found == held.wanted).float().tolist(), 0
    else:
        batch = OF_MANY_TOKENS.get(held.modality, BATCH)
        draw = shuffled(len(held), min(batch, len(held)), seed)
        prepared.train()
        for _ in descend(
            trained, lambda step: held.loss(prepared, head, draw(step)), steps=steps, rate=RATE, decay=0.01, warmup=0.1
        ):
            pass
        prepared.eval()
        with torch.no_grad():
            scores = held.scores(prepared, head)
    return {
        "score": sum(scores) / len(scores),
        "items": [round(score, 4) for score in scores],
        "trained_parameters": sum(p.numel() for p in trained),
        "parameters": whole,
        "steps": steps,
        "batch": OF_MANY_TOKENS.get(held.modality, BATCH),
        "spent_s": round(time.process_time() - start, 1),
    }


def _model(modality: str) -> Any:
    part = small_multimodal_encoder()
    kept = {
        key: {name: p for name, p in part.kwargs[key].items() if name == modality}
        for key in ("tokenizers", "positions")
    }
    return part.replace(**kept)()


def _frozen(model: Any, weights: str | None) -> Any:
    if weights is not None:
        model.transformer.load_state_dict(load(f"unimodal:{weights}").transformer.state_dict())
    model.transformer.requires_grad_(False)
    return model


def _low_rank(model: Any, modality: str) -> Any:
    core = _frozen(model, "small_image_encoder").transformer
    model.transformer = adapt(core, rank=RANK).model
    return model


def _shipped(model: Any, modality: str) -> Any:
    shipped: Any = load("unimodal:small_multimodal_encoder")
    model.load_state_dict({k: v for k, v in shipped.state_dict().items() if k in model.state_dict()})
    return model.requires_grad_(False)


def _guided(model: Any, modality: str) -> Any:
    source, info = load_with_info("unimodal:small_image_encoder")
    guided: Any = any2point(info.part, points=256, groups=32, neighbours=16, voxel=0.3, readout=Part(Mean))()
    transplant(guided, source)  # pyright: ignore[reportArgumentType]
    return guided


PREPARE: dict[str, Callable[[Any, str], Any]] = {
    "random": lambda model, modality: _frozen(model, None),
    "scratch": lambda model, modality: model,
    "pictures": lambda model, modality: _frozen(model, "small_image_encoder"),
    "low rank": _low_rank,
    "guided": _guided,
    "joint": lambda model, modality: _frozen(model, "small_multimodal_encoder"),
    "shipped": _shipped,
}


def _missing(options: Any, name: str):
    for arm in options.arms:
        for seed in range(1 if arm == "shipped" and name != HOURS else options.seeds):
            path = options.run / name.replace(" ", "_") / f"{arm.replace(' ', '_')}-{seed}.json"
            if not path.exists() and (arm != "guided" or name in OF_POINTS):
                yield arm, seed, path


if __name__ == "__main__":
    sys.exit(main())
