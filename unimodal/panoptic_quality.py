"""Panoptic quality: how well segments of things and stuff were found, and how well those that were found fit.

Source: Kirillov et al. 2018, arXiv:1801.00868, eq. 1 and 2 (PQ = SQ x RQ), sec. 4.1 and 4.2 (matches, void, crowds);
the same figures: github.com/cocodataset/panopticapi, evaluation.py.
Axes: Y rows, X columns, K classes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["PanopticQuality", "Panoptic"]


@dataclass(frozen=True, eq=False)
class Panoptic:
    """One picture's segments.

    Args:
        ids: (Y, X) the segment of each pixel; 0 is void.
        classes: The class of each segment, 0 .. K - 1, by its number.
        crowds: Segments of a target that stand for several things which nobody told apart.
    """

    ids: np.ndarray
    classes: Mapping[int, int]
    crowds: frozenset[int] = field(default_factory=frozenset)


class PanopticQuality:
    """PQ_k = sum of the matches' IoU / (matches + false positives / 2 + false negatives / 2), averaged over classes.

    A predicted and a true segment of one class match if their IoU, void pixels of the target left out of the union, is
    above 1/2; then each has at most one match. A predicted segment without a match does not count if more than half of
    it lies on void and on crowds of its class (all of them; the released code looks at the last one, and COCO has one
    a class). Classes that occur nowhere are left out of the average.

    Args:
        classes: K.
        found: Maps a prediction to its :class:`Panoptic`.
        truth: Maps a target to its :class:`Panoptic`.
        figure: ``pq``, ``sq`` (how well matches fit) or ``rq`` (how many match).
        among: Classes that are averaged over (the things, say); None for all.

    Raises:
        ValueError: an unknown figure; segments without a class or pixels; pictures of different sizes.
    """

    def __init__(
        self,
        classes: int,
        found: Callable[[Any], Panoptic],
        truth: Callable[[Any], Panoptic],
        *,
        figure: str = "pq",
        among: tuple[int, ...] | None = None,
    ) -> None:
        if figure not in ("pq", "sq", "rq"):
            raise ValueError(f"figure must be 'pq', 'sq' or 'rq', not {figure!r}")
        self.found, self.truth, self.figure, self.among = found, truth, figure, among
        self.overlap = np.zeros(classes)  # sum of the matches' IoU
        self.matches, self.extra, self.missed = (np.zeros(classes, dtype=np.int64) for _ in range(3))

    def update(self, prediction: Any, target: Any) -> None:
        found, true = self.found(prediction), self.truth(target)
        if found.ids.shape != true.ids.shape:
            raise ValueError(f"the prediction has the shape {found.ids.shape}, its target {true.ids.shape}")
        areas, true_areas = _areas(found), _areas(true)
        both = _counted(np.stack([found.ids.ravel(), true.ids.ravel()], 1))
        matched, met = set[int](), set[int]()
        for (mine, other), shared in both.items():
            if mine == 0 or other == 0 or other in true.crowds or found.classes[mine] != true.classes[other]:
                continue
            union = areas[mine] + true_areas[other] - shared - both.get((mine, 0), 0)
            if shared / union > 0.5:
                self.overlap[found.classes[mine]] += shared / union
                self.matches[found.classes[mine]] += 1
                matched.add(mine)
                met.add(other)
        for other, kind in true.classes.items():
            self.missed[kind] += other not in met and other not in true.crowds
        for mine, kind in found.classes.items():
            crowds = [other for other in true.crowds if true.classes[other] == kind]
            nobody = sum(both.get((mine, other), 0) for other in (0, *crowds))
            self.extra[kind] += mine not in matched and nobody / areas[mine] <= 0.5

    def merge(self, other: "PanopticQuality") -> None:
        self.overlap += other.overlap
        self.matches, self.extra, self.missed = (
            mine + its
            for mine, its in zip(
                (self.matches, self.extra, self.missed), (other.matches, other.extra, other.missed), strict=True
            )
        )

    def per_class(self) -> np.ndarray:
        """The figure of each class; NaN where it occurs in neither target nor prediction."""
        weighed = self.matches + self.extra / 2 + self.missed / 2
        occurs, sure = weighed > 0, np.maximum(self.matches, 1)
        rq = np.divide(self.matches, weighed, out=np.full(len(weighed), np.nan), where=occurs)
        sq = np.where(occurs, self.overlap / sure, np.nan)
        return {"pq": rq * sq, "sq": sq, "rq": rq}[self.figure]

    def compute(self) -> float:
        figures = self.per_class()
        figures = figures if self.among is None else figures[list(self.among)]
        figures = figures[~np.isnan(figures)]
        return float(figures.mean()) if len(figures) else float("nan")


def _areas(segments: Panoptic) -> dict[int, int]:
    """Pixels of each segment.

    Raises:
        ValueError: a segment has no class, or no pixels.
    """
    areas = {int(i): int(n) for i, n in zip(*np.unique(segments.ids, return_counts=True), strict=True) if i}
    if set(areas) != set(segments.classes):
        odd = sorted(set(areas) ^ set(segments.classes))
        raise ValueError(f"every segment needs a class and pixels; these lack one of them: {odd}")
    return areas


def _counted(pairs_N2: np.ndarray) -> dict[tuple[int, int], int]:
    pairs, counts = np.unique(pairs_N2, axis=0, return_counts=True)
    return {(int(a), int(b)): int(n) for (a, b), n in zip(pairs, counts, strict=True)}
