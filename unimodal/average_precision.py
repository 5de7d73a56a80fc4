"""Average precision: how many objects were found, and how much else, at every score and several overlaps.

Source: the rules of Lin et al. 2014, arXiv:1405.0312 (COCO) as released: github.com/cocodataset/cocoapi,
PythonAPI/pycocotools/cocoeval.py, whose figures are the same.
Axes: N found objects, G true objects, T thresholds, R = 101 recalls.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from unimodal.instances import Instances
from unimodal.run_lengths import areas, overlaps

__all__ = ["AveragePrecision"]

_THRESHOLDS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0.0, 1.0, 101)
_ALL, _MOST = (0.0, 1e10), 100  # px; objects a picture and class
_FIGURES = {
    "ap": (_THRESHOLDS, _ALL),
    "ap50": (_THRESHOLDS[:1], _ALL),
    "ap75": (_THRESHOLDS[5:6], _ALL),
    "ap_small": (_THRESHOLDS, (0.0, 32.0**2)),
    "ap_medium": (_THRESHOLDS, (32.0**2, 96.0**2)),
    "ap_large": (_THRESHOLDS, (96.0**2, 1e10)),
    "ar100": (_THRESHOLDS, _ALL),
}


class _Judged(NamedTuple):
    """Of one picture and class: (N,) scores, (T, N) whether right, (T, N) whether counted."""

    scores: np.ndarray
    right: np.ndarray
    counted: np.ndarray


class AveragePrecision:
    """The precision at 101 recalls, averaged over them, over overlaps of 0.50, 0.55 ... 0.95 and over classes.

    In each picture and class the 100 surest objects take, surest first, the true object that they overlap most and
    that is not taken, if they overlap enough. Crowds can be taken often; what takes them, or an object outside of the
    range of areas, counts neither as right nor as wrong. Classes without a true object are left out.

    Of objects that are equally sure those counted first rank first. The area of a found object is its mask's for masks
    and its box's for boxes (pycocotools takes the box's for both, if the file with results has both).

    Args:
        classes: K.
        found: Maps a prediction to its :class:`~unimodal.instances.Instances`.
        truth: Maps a target to its ones.
        figure: ``ap``, ``ap50`` and ``ap75`` (one overlap), ``ap_small`` (area up to 32² px), ``ap_medium`` (to 96²),
            ``ap_large``, or ``ar100``: the recall, of whatever score.
        kind: ``boxes`` or ``masks``.

    Raises:
        ValueError: an unknown figure or kind; objects without scores or masks; a class outside 0 .. K - 1; pictures
            of different sizes.
        MissingExtraError: pycocotools is not installed.

    Cost: Keeps T bits and a score a found object, no masks.
    """

    def __init__(
        self,
        classes: int,
        found: Callable[[Any], Instances],
        truth: Callable[[Any], Instances],
        *,
        figure: str = "ap",
        kind: str = "boxes",
    ) -> None:
        if figure not in _FIGURES:
            raise ValueError(f"figure must be one of {', '.join(_FIGURES)}, not {figure!r}")
        if kind not in ("boxes", "masks"):
            raise ValueError(f"kind must be 'boxes' or 'masks', not {kind!r}")
        self.found, self.truth, self.figure, self.kind = found, truth, figure, kind
        self.thresholds, self.range = _FIGURES[figure]
        self.judged: list[list[_Judged]] = [[] for _ in range(classes)]
        self.wanted = np.zeros(classes, dtype=np.int64)

    def update(self, prediction: Any, target: Any) -> None:
        found, true = self.found(prediction), self.truth(target)
        if found.scores is None:
            raise ValueError("found objects need scores")
        if found.size != true.size:
            raise ValueError(f"the prediction is of a picture of the size {found.size}, its target of {true.size}")
        shapes, true_shapes = _shapes(found, self.kind), _shapes(true, self.kind)
        sizes, true_sizes = _areas(found, self.kind), _areas(true, self.kind) if true.areas is None else true.areas
        crowds = np.zeros(len(true), dtype=bool) if true.crowds is None else np.asarray(true.crowds, dtype=bool)
        for label in np.unique(np.concatenate([found.labels, true.labels])).tolist():
            if not 0 <= label < len(self.wanted):
                raise ValueError(f"classes must be within 0..{len(self.wanted) - 1}, not {label}")
            mine, its = np.flatnonzero(found.labels == label), np.flatnonzero(true.labels == label)
            mine = mine[np.argsort(-found.scores[mine], kind="stable")][:_MOST]
            ignored = crowds[its] | self._outside(true_sizes[its])
            shared_NG = overlaps([shapes[i] for i in mine], [true_shapes[i] for i in its], crowds[its].tolist())
            taken_TN = _matches(shared_NG, self.thresholds, ignored, crowds[its])
            right = (taken_TN >= 0) & ~np.append(ignored, False)[taken_TN]
            counted = right | ((taken_TN < 0) & ~self._outside(sizes[mine]))
            self.judged[int(label)].append(_Judged(found.scores[mine], right, counted))
            self.wanted[int(label)] += np.count_nonzero(~ignored)

    def merge(self, other: "AveragePrecision") -> None:
        self.wanted += other.wanted
        for mine, its in zip(self.judged, other.judged, strict=True):
            mine += its

    def per_class(self) -> np.ndarray:
        """The figure of each class; NaN for those without a true object."""
        return np.array([self._of(label) for label in range(len(self.wanted))])

    def compute(self) -> float:
        figures = self.per_class()
        return float(np.nanmean(figures)) if np.any(self.wanted) else float("nan")

    def _of(self, label: int) -> float:
        if self.wanted[label] == 0:
            return float("nan")
        scores, right, counted = (np.concatenate(x, -1) for x in zip(*self.judged[label], strict=True))
        order = np.argsort(-scores, kind="stable")
        hits = right[:, order].cumsum(-1)
        recall = hits / self.wanted[label]
        if self.figure == "ar100":
            return float(recall[:, -1].mean()) if len(scores) else 0.0
        precision = hits / (counted[:, order].cumsum(-1) + np.spacing(1))
        best = np.maximum.accumulate(precision[:, ::-1], -1)[:, ::-1]  # at this recall or a higher one
        at = [np.append(b, 0)[np.searchsorted(r, _RECALLS)] for b, r in zip(best, recall, strict=True)]
        return float(np.mean(at))

    def _outside(self, sizes: np.ndarray) -> np.ndarray:
        return (sizes < self.range[0]) | (sizes > self.range[1])


def _matches(shared_NG: np.ndarray, thresholds: np.ndarray, ignored: np.ndarray, crowds: np.ndarray) -> np.ndarray:
    """(T, N) the true object that each found one takes, surest first, or -1. Those that are not ignored go first."""
    count, true = shared_NG.shape
    matches_TN = np.full((len(thresholds), count), -1)
    if true == 0:
        return matches_TN
    free_TG = np.ones((len(thresholds), true), dtype=bool)
    least_T1 = np.minimum(thresholds, 1 - 1e-10)[:, None]
    for i, shared_G in enumerate(shared_NG):
        fits_TG = (free_TG | crowds) & (shared_G >= least_T1)
        wanted = fits_TG & ~ignored
        among_TG = np.where(wanted.any(-1, keepdims=True), wanted, fits_TG)
        best_T = true - 1 - np.where(among_TG, shared_G, -1.0)[:, ::-1].argmax(-1)  # of equal ones the last
        hit_T = np.flatnonzero(among_TG.any(-1))
        matches_TN[hit_T, i] = best_T[hit_T]
        free_TG[hit_T, best_T[hit_T]] = False
    return matches_TN


def _shapes(objects: Instances, kind: str) -> Any:
    if kind == "boxes":
        return np.concatenate([objects.boxes[:, :2], objects.boxes[:, 2:] - objects.boxes[:, :2]], 1)
    if objects.masks is None:
        raise ValueError("objects need masks, or kind='boxes'")
    return objects.masks


def _areas(objects: Instances, kind: str) -> np.ndarray:
    if kind == "masks":
        return areas(objects.masks or ())
    return np.prod(objects.boxes[:, 2:] - objects.boxes[:, :2], axis=1)
