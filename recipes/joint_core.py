"""The embedded encoder of all modalities: one small core and thirteen tokenizers, trained together.

    python recipes/joint_core.py --data DIR --run DIR [--only audio ...] [--steps 5000]

DIR (data) is the folder of recipes/multimodal_data.py with cifar10/ and ett/ beside the others. It begins with the
core and the pictures' tokenizer of the embedded small_image_encoder, and with new tokenizers for the rest. (From
nothing, a similar mixture gave 71.7 % on CIFAR-10 where pictures alone give 78.4 % in as many steps.) Data sets take
turns in proportion to WEIGHTS (unimodal.weighted), and every batch is of one of them. What is learned from it:
    a class of each input by its name: the cosine of what the model makes of the input and of the name, which the same
        model reads as text (unimodal.objectives.likelihood; no task has a head of its own)
    which of two halves of the tokens belong together (unimodal.objectives.view_contrast; not of pictures and sounds,
        of which there are enough names)
    four days of ETTh1 from the four days before (unimodal.objectives.completed_series)
``--only`` trains one set alone, from the same start and for as many steps as it has in the whole mixture. An
interrupted command goes on, to the bit. Measure with recipes/joint_measures.py.
"""

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from cifar10_encoder import read
from joint_sets import PICTURES, SERIES, Labelled, sets
from multimodal_data import DATA
from torch import Tensor

from unimodal.objectives.completed_series import CompletedSeries
from unimodal.objectives.likelihood import Likelihood
from unimodal.objectives.view_contrast import ViewContrast
from unimodal.pretrained import load
from unimodal.recipes.small_multimodal_encoder import small_multimodal_encoder
from unimodal.sample import Batch
from unimodal.training import Progress, cosine, fit
from unimodal.weighted import weighted
from unimodal.weights_file import write_weights

SEED, SMOOTHING, CONTRAST = 0, 0.1, 0.5
NEW, KNOWN = 2e-3, 7e-4  # learning rates of what begins at random, and of what begins with the pictures' weights
WEIGHTS = {PICTURES: 40.0, "audio": 30.0, SERIES: 5.0, **dict.fromkeys((n for n in DATA if n != "audio"), 3.0)}
STEPS = 5400


class Joint(nn.Module):
    """The model and what it is trained with, which is thrown away.

    Args:
        held: The sets by name.
    """

    def __init__(self, held: dict[str, Any], model: Any) -> None:
        super().__init__()
        self.model = model
        dim = self.model.dim
        named = {name: part for name, part in held.items() if name != SERIES}
        self.likelihood = Likelihood(dim, tasks=sorted(named) or ["none"])
        self.contrast = nn.ModuleDict(
            {name: ViewContrast(dim, keep=part.keep) for name, part in named.items() if isinstance(part, Labelled)}
        )
        self.completed = CompletedSeries(dim)
        self.held = held
        text = self.model.tokenizer("text")
        self.names = {name: text.collate([text.read(c) for c in part.classes]) for name, part in named.items()}

    def loss(self, drawn: tuple[str, Tensor]) -> Tensor:
        """Of one batch: the set's name and its indices."""
        name, indices = drawn
        if name == SERIES:
            (part,) = self.held[name].parts(indices)
            return self.completed(self.model, *part)
        if name == PICTURES:
            ((batch, labels),) = self.held[name].parts(indices)
            with torch.autocast("cpu", torch.bfloat16):
                logits = self.likelihood.logits(self.model, name, batch, self.names[name])
            return F.cross_entropy(logits.float(), labels, label_smoothing=SMOOTHING)
        total = torch.zeros(())
        y_KD = self.likelihood.encode(self.model, self.names[name])
        for batch, labels in self.held[name].parts(indices):
            total = total + len(labels) / len(indices) * self._labelled(name, batch, labels, y_KD)
        return total

    def _labelled(self, name: str, batch: Batch, labels: Tensor, y_KD: Tensor) -> Tensor:
        contrast, known = self.contrast[name], labels >= 0
        assert isinstance(contrast, ViewContrast)
        apart = name != "audio" and len(labels) > 1
        value = CONTRAST * contrast(self.model, batch) if apart else torch.zeros(())
        if not known.any():
            return value
        x_SD = self.likelihood.encode(self.model, contrast.view(self.model.tokenize(batch)))[known]
        logits = self.likelihood.compared(name, x_SD, y_KD)
        return value + known.float().mean() * F.cross_entropy(logits, labels[known], label_smoothing=SMOOTHING)

    @torch.no_grad()
    def top1(self, images: Tensor, labels: Tensor) -> float:
        """Pictures by the names of their classes."""
        y_KD = self.likelihood.encode(self.model, self.names[PICTURES])
        right = 0
        for x, y in zip(images.split(500), labels.split(500), strict=True):
            logits = self.likelihood.compared(PICTURES, self.likelihood.encode(self.model, Batch("image", x)), y_KD)
            right += int((logits.argmax(-1) == y).sum())
        return right / len(images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--only", choices=list(WEIGHTS), help="this set alone, as often as it comes in the mixture")
    parser.add_argument("--steps", type=int, default=STEPS, help="of the whole mixture")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    trained(options.data, options.run, only=options.only, whole=options.steps)


def begun() -> tuple[Any, set[str]]:
    """The model as training begins, and the names of what has the pictures' weights."""
    torch.manual_seed(SEED)
    model: Any = small_multimodal_encoder()()
    given = load("unimodal:small_image_encoder").state_dict()
    model.load_state_dict(given, strict=False)
    return model, set(given)


def trained(data: Path, run: Path, *, only: str | None = None, whole: int = STEPS) -> Any:
    """The model after a run, which is kept in RUN/model.safetensors."""
    model, known = begun()
    weights = {only: WEIGHTS[only]} if only else WEIGHTS
    steps = round(whole * sum(weights.values()) / sum(WEIGHTS.values()))
    held = sets(data, model, list(weights))
    torch.manual_seed(SEED)
    joint = Joint(held, model)
    turn = weighted({n: len(s) for n, s in held.items()}, weights, {n: s.batch for n, s in held.items()}, SEED)
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in joint.named_parameters():
        groups.setdefault((name.removeprefix("model.") in known, parameter.ndim >= 2), []).append(parameter)
    optimizer = torch.optim.AdamW(
        [
            {"params": members, "lr": KNOWN if old else NEW, "weight_decay": 0.05 if decayed else 0.0}
            for (old, decayed), members in groups.items()
        ],
        betas=(0.9, 0.95),
    )
    pictures = read(data / "cifar10" / "cifar10_test.parquet") if PICTURES in weights else None

    def report(progress: Progress) -> None:
        print(progress, flush=True)

    spent_s = fit(
        joint,
        joint.loss,
        turn,
        [optimizer],
        steps=steps,
        folder=run,
        schedule=cosine(0.1),
        seed=SEED,
        report=report,
        evaluate=(lambda: {"top1": joint.top1(*(part[:2000] for part in pictures))}) if pictures else None,
        evaluate_every=steps // 7,
    )
    counts = Counter(turn(step)[0] for step in range(steps))
    write_weights(run / "model.safetensors", {k: v.detach().clone() for k, v in model.state_dict().items()})
    result: dict[str, Any] = {"steps": steps, "spent_s": round(spent_s, 1), "steps_of_set": counts}
    if pictures:
        result["top1"] = joint.eval().top1(*pictures)
    (run / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    print(result)
    return model


if __name__ == "__main__":
    main()
