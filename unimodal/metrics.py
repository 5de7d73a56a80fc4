"""Metrics as accumulators: update with one prediction and its target, merge across workers, compute at the end."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

__all__ = ["Accuracy", "ConfusionMatrix", "Metric"]


class Metric(Protocol):
    """A sum over samples that can be split among workers."""

    def update(self, prediction: Any, target: Any) -> None:
        """Count one sample."""
        ...

    def merge(self, other: Any) -> None:
        """Add what another accumulator of the same kind has counted."""
        ...

    def compute(self) -> float:
        """The figure, NaN before anything was counted."""
        ...


class Accuracy:
    """The share of samples whose target is among the ``top`` likeliest classes.

    Args:
        ranked: Maps a prediction to its classes, likeliest first.
        top: How many of them count.
    """

    def __init__(self, ranked: Callable[[Any], Sequence[Any]], *, top: int = 1) -> None:
        self.ranked, self.top = ranked, top
        self.right = self.count = 0

    def update(self, prediction: Any, target: Any) -> None:
        self.right += target in self.ranked(prediction)[: self.top]
        self.count += 1

    def merge(self, other: "Accuracy") -> None:
        self.right, self.count = self.right + other.right, self.count + other.count

    def compute(self) -> float:
        return self.right / self.count if self.count else float("nan")


class ConfusionMatrix:
    """Counts of (target, predicted) label pairs, and the figures that follow from them.

    Source: mean intersection over union: Everingham et al. 2015, doi:10.1007/s11263-014-0733-5, sec. 4.2.2.

    Args:
        classes: Number of classes K. Where the target is outside 0 .. K - 1 (void) nothing is counted; where only the
            prediction is (a part of the picture that the model did not see) the target counts as missed.
        labels: Maps a prediction to its integer label array.
        truth: Maps a target to its integer label array.
        figure: ``mean_iou`` (over the classes that occur in target or prediction) or ``pixel_accuracy``.
    """

    def __init__(
        self,
        classes: int,
        labels: Callable[[Any], np.ndarray],
        truth: Callable[[Any], np.ndarray] = np.asarray,
        *,
        figure: str = "mean_iou",
    ) -> None:
        if figure not in ("mean_iou", "pixel_accuracy"):
            raise ValueError(f"figure must be 'mean_iou' or 'pixel_accuracy', not {figure!r}")
        self.classes, self.labels, self.truth, self.figure = classes, labels, truth, figure
        self.counts = np.zeros((classes, classes + 1), dtype=np.int64)  # target, prediction; last column: none

    def update(self, prediction: Any, target: Any) -> None:
        predicted, target = np.asarray(self.labels(prediction)), self.truth(target)
        if predicted.shape != target.shape:
            raise ValueError(f"the prediction has the shape {predicted.shape}, its target {target.shape}")
        counted = (target >= 0) & (target < self.classes)
        target, predicted = target[counted].astype(np.int64), predicted[counted].astype(np.int64)
        predicted = np.where((predicted >= 0) & (predicted < self.classes), predicted, self.classes)
        pairs = target * (self.classes + 1) + predicted
        self.counts += np.bincount(pairs, minlength=self.counts.size).reshape(self.counts.shape)

    def merge(self, other: "ConfusionMatrix") -> None:
        self.counts += other.counts

    def iou(self) -> np.ndarray:
        """Intersection over union of each class; NaN where it occurs in neither target nor prediction."""
        hit = self.counts.diagonal().astype(np.float64)
        union = self.counts.sum(0)[: self.classes] + self.counts.sum(1) - hit
        return np.divide(hit, union, out=np.full_like(hit, np.nan), where=union > 0)

    def compute(self) -> float:
        total = self.counts.sum()
        if total == 0:
            return float("nan")
        return float(np.nanmean(self.iou()) if self.figure == "mean_iou" else self.counts.trace() / total)
