"""Descent: a short training of which no state is kept; what may be stopped goes through :mod:`unimodal.training`."""

from collections.abc import Callable, Iterable, Iterator

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.training import cosine

__all__ = ["descend"]


def descend(
    parameters: Iterable[nn.Parameter],
    loss: Callable[[int], Tensor],
    *,
    steps: int,
    rate: float,
    decay: float = 0.05,
    warmup: float = 0.05,
    clip: float | None = 1.0,
) -> Iterator[float]:
    """AdamW on ``loss(step)``, with a warm-up and a cosine: the loss of each step, when it was made.

    Args:
        parameters: What is trained.
        rate: The peak of the learning rate.
        decay: Of the weights.
        warmup: See :func:`unimodal.training.cosine`.
        clip: Largest norm of the gradient, or None.
    """
    trained, schedule = list(parameters), cosine(warmup)
    optimizer = torch.optim.AdamW(trained, lr=rate, weight_decay=decay)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * schedule(step / steps)
        value = loss(step)
        optimizer.zero_grad()
        value.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(trained, clip)
        optimizer.step()
        yield value.item()
