"""Classifier: a network learns which class a picture is of, and is tested on others."""

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.descent import descend
from unimodal.part import Part
from unimodal.sample import Batch

__all__ = ["flipped", "learn", "told"]

BATCH, RATE = 64, 2e-3


def learn(
    part: Part,
    data: tuple[Tensor, ...],
    *,
    steps: int,
    seed: int = 0,
    augment: Callable[[Tensor, torch.Generator], Tensor] = lambda x, draw: x,
) -> tuple[Any, dict[str, Any]]:
    """Train on (pictures, labels), test on two others; the model in use, and a row of what was found."""
    torch.manual_seed(seed)
    model: Any = part()
    images, labels, unseen, expected = data
    draw, start = torch.Generator().manual_seed(seed), time.process_time()

    def loss(step: int) -> Tensor:
        chosen = torch.randint(len(images), (BATCH,), generator=draw)
        logits = model.embed(Batch("image", augment(images[chosen], draw)))
        return F.cross_entropy(logits, labels[chosen], label_smoothing=0.1)

    losses = list(descend(model.train().parameters(), loss, steps=steps, rate=RATE))
    made = told(model.eval(), unseen)
    return model, {
        "steps": steps,
        "parameters": sum(p.numel() for p in model.parameters()),
        "accuracy": float((made == expected).float().mean()),
        "last_loss": sum(losses[-50:]) / len(losses[-50:]),
        "cpu_s": time.process_time() - start,
    }


@torch.inference_mode()
def told(model: Any, images: Tensor) -> Tensor:
    """The class of each picture."""
    return torch.cat([model.embed(Batch("image", batch)).argmax(-1) for batch in images.split(250)])


def flipped(images: Tensor, draw: torch.Generator) -> Tensor:
    """Half of the pictures, mirrored."""
    mirrored = torch.rand(len(images), 1, 1, 1, generator=draw) < 0.5
    return torch.where(mirrored, images.flip(-1), images)
