"""The embedded encoder of all modalities: one small core and thirteen tokenizers, trained together from nothing.

    python recipes/joint_core.py --data DIR --run DIR [--only audio ...] [--steps 5000]

DIR (data) is the folder of recipes/multimodal_data.py with cifar10/ and ett/ beside the others. Data sets take turns in
proportion to WEIGHTS (unimodal.weighted), and every batch is of one of them. What is learned from it:
    a class of each input by its name: the cosine of what the model makes of the input and of the name, which the same
        model reads as text (unimodal.objectives.likelihood; no task has a head of its own)
    which of two halves of the tokens belong together (unimodal.objectives.view_contrast; not of pictures and sounds,
        of which there are enough names)
    four days of ETTh1 from the four days before (unimodal.objectives.completed_series)
Pictures see the same batches, augmentation, sizes and number of steps as in recipes/cifar10_encoder.py, which is what
learning from pictures alone gives. ``--only`` trains one set alone for as many steps as it has in the whole mixture.
An interrupted command goes on, to the bit. Measure with recipes/joint_measures.py.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from cifar10_encoder import BATCH, EPOCHS, SMALL_EPOCHS, read
from joint_sets import PICTURES, SERIES, Labelled, sets
from multimodal_data import DATA
from torch import Tensor

from unimodal.objectives.completed_series import CompletedSeries
from unimodal.objectives.likelihood import Likelihood
from unimodal.objectives.view_contrast import ViewContrast
from unimodal.recipes.small_multimodal_encoder import small_multimodal_encoder
from unimodal.sample import Batch
from unimodal.training import Progress, cosine, fit
from unimodal.weighted import weighted
from unimodal.weights_file import write_weights

SEED, SMOOTHING, CONTRAST = 0, 0.1, 0.5
WEIGHTS = {PICTURES: 60.0, "audio": 24.0, SERIES: 6.0, **dict.fromkeys((n for n in DATA if n != "audio"), 3.5)}
STEPS = int(EPOCHS * (50_000 // BATCH) * sum(WEIGHTS.values()) / WEIGHTS[PICTURES])


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

    def loss(self, drawn: tuple[str, Tensor, float]) -> Tensor:
        """Of one batch: the set's name, its indices, and the share of the run that is done."""
        name, indices, done = drawn
        if name == SERIES:
            (part,) = self.held[name].parts(indices)
            return self.completed(self.model, *part)
        if name == PICTURES:
            small = done < SMALL_EPOCHS / EPOCHS
            (batch, labels), *_ = self.held[name].parts(indices, 24 if small else 32)
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


def trained(data: Path, run: Path, *, only: str | None = None, whole: int = STEPS) -> Any:
    """The model after a run, which is kept in RUN/model.safetensors."""
    torch.manual_seed(SEED)
    model: Any = small_multimodal_encoder()()
    weights = {only: WEIGHTS[only]} if only else WEIGHTS
    steps = round(whole * sum(weights.values()) / sum(WEIGHTS.values()))
    held = sets(data, model, list(weights))
    torch.manual_seed(SEED)
    joint = Joint(held, model)
    turn = weighted({n: len(s) for n, s in held.items()}, weights, {n: s.batch for n, s in held.items()}, SEED)
    decayed = [p for p in joint.parameters() if p.ndim >= 2]
    plain = [p for p in joint.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]
    pictures = read(data / "cifar10" / "cifar10_test.parquet") if PICTURES in weights else None

    def report(progress: Progress) -> None:
        print(progress, flush=True)

    spent_s = fit(
        joint,
        joint.loss,
        lambda step: (*turn(step), step / steps),
        [torch.optim.AdamW(groups, lr=2e-3, betas=(0.9, 0.95))],
        steps=steps,
        folder=run,
        schedule=cosine(0.1),
        seed=SEED,
        report=report,
        evaluate=(lambda: {"top1": joint.top1(*(part[:2000] for part in pictures))}) if pictures else None,
        evaluate_every=steps // 7,
    )
    counts: dict[str, int] = {}
    for step in range(steps):
        counts[turn(step)[0]] = counts.get(turn(step)[0], 0) + 1
    write_weights(run / "model.safetensors", {k: v.detach().clone() for k, v in model.state_dict().items()})
    result: dict[str, Any] = {"steps": steps, "spent_s": round(spent_s, 1), "steps_of_set": counts}
    if pictures:
        result["top1"] = joint.eval().top1(*pictures)
    (run / "result.json").write_text(json.dumps(result, indent=1) + "\n")
    print(result)
    return model


if __name__ == "__main__":
    main()
