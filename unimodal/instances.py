"""Instances: the objects of one picture, found or true, with their boxes, classes, scores and masks."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from unimodal.run_lengths import RunLengths

__all__ = ["Instances"]


@dataclass(frozen=True, eq=False)
class Instances:
    """N objects in the picture's own pixels.

    Args:
        size: (rows, columns) of the picture.
        boxes: (N, 4) left, upper, right and lower edge in px; 0 is the outer edge of the first pixel.
        labels: (N,) classes, 0 .. K - 1.
        scores: (N,) how sure, 0 .. 1; None for true ones.
        masks: N masks, None where there are boxes alone.
        crowds: (N,) whether it stands for several objects that nobody told apart; None for no.
        areas: (N,) px, by which a true one counts as small or large; None for its mask's or its box's.

    Raises:
        ValueError: the fields are not of one length.
    """

    size: tuple[int, int]
    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray | None = None
    masks: Sequence[RunLengths] | None = None
    crowds: np.ndarray | None = None
    areas: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.boxes.ndim != 2 or self.boxes.shape[1] != 4:
            raise ValueError(f"boxes must be of the shape (N, 4), not {self.boxes.shape}")
        for name in ("labels", "scores", "masks", "crowds", "areas"):
            field = getattr(self, name)
            if field is not None and len(field) != len(self.boxes):
                raise ValueError(f"{name} must be one for each of {len(self.boxes)} boxes, not {len(field)}")

    def __len__(self) -> int:
        return len(self.boxes)
