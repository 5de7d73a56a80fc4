"""Evaluation: a task's metrics over labelled samples, and which samples could not be measured."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unimodal.inference.pipeline import predictions, why
from unimodal.inference.sources import Input
from unimodal.kernels.dispatch import Wish

__all__ = ["Evaluation", "evaluate", "measure"]


@dataclass(frozen=True)
class Evaluation:
    """Figures, and what they are of.

    Args:
        task: The task's name.
        samples: How many there were, errors included.
        errors: (name, reason) of those that no figure counts.
        metrics: Each metric's figure over the others, NaN if there are none.
    """

    task: str
    samples: int
    errors: tuple[tuple[str, str], ...]
    metrics: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Plain data; a figure that is NaN is null."""
        figures = {name: None if math.isnan(value) else value for name, value in self.metrics.items()}
        errors = [{"source": name, "error": words} for name, words in self.errors]
        return {"task": self.task, "samples": self.samples, "metrics": figures, "errors": errors}


def evaluate(
    task: Any,
    data: str | Path,
    *,
    batch_tokens: int | None = None,
    workers: int = 2,
    linear_maps: Wish = "auto",
    report: Callable[[int, int, float, float, str], None] = lambda done, total, rate_hz, left_s, more: None,
) -> Evaluation:
    """Measure ``task`` on the data set at ``data``.

    Args:
        batch_tokens: See :func:`unimodal.inference.pipeline.predictions`, as for ``workers`` and
            ``linear_maps``.
        report: Called after every sample with (done, total, samples a second, seconds left, a remark).

    Raises:
        InputError: there is no data set at ``data``, or it is laid out otherwise.
    """
    return measure(
        task,
        task.labelled(Path(data)),
        batch_tokens=batch_tokens,
        workers=workers,
        linear_maps=linear_maps,
        report=report,
    )


def measure(
    task: Any,
    pairs: Sequence[tuple[Any, Any]],
    *,
    batch_tokens: int | None = None,
    workers: int = 2,
    linear_maps: Wish = "auto",
    report: Callable[[int, int, float, float, str], None] = lambda done, total, rate_hz, left_s, more: None,
) -> Evaluation:
    """As :func:`evaluate`, on (source, target) pairs."""
    task.module.eval()
    metrics, errors, started = task.metrics(), [], time.monotonic()
    inputs = (Input(_name(source, i), source) for i, (source, _) in enumerate(pairs))
    for result in predictions(task, inputs, batch_tokens=batch_tokens, workers=workers, linear_maps=linear_maps):
        error = result.error
        if error is None:
            try:
                for metric in metrics.values():
                    metric.update(result.prediction, pairs[result.index][1])
            except Exception as raised:  # a target that is damaged, for instance
                error = raised
        if error is not None:
            errors.append((result.name, why(error)))
        done = result.index + 1
        rate = done / max(time.monotonic() - started, 1e-9)
        report(done, len(pairs), rate, (len(pairs) - done) / rate, f"{len(errors)} errors" if errors else "")
    figures = {name: float(metric.compute()) for name, metric in metrics.items()}
    return Evaluation(task.name, len(pairs), tuple(errors), figures)


def _name(source: Any, index: int) -> str:
    if isinstance(source, str | Path):
        return str(source)
    return str(getattr(source, "name", f"sample {index}"))
