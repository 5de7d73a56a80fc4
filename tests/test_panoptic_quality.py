"""Panoptic quality: a written-out oracle, void and crowds, halves that merge, refusals."""

import math

import numpy as np
import pytest

from unimodal.panoptic_quality import Panoptic, PanopticQuality


def same(segments: Panoptic) -> Panoptic:
    return segments


def quality(**options: object) -> PanopticQuality:
    return PanopticQuality(3, same, same, **options)  # pyright: ignore[reportArgumentType]


def in_loops(pairs: list[tuple[Panoptic, Panoptic]], kind: int) -> tuple[float, float]:
    """(sum of IoU, TP + FP / 2 + FN / 2) of one class, pixel set by pixel set."""
    total, weight = 0.0, 0.0
    for found, true in pairs:
        void = set(zip(*np.nonzero(true.ids == 0), strict=True))
        sets = [
            {i: set(zip(*np.nonzero(s.ids == i), strict=True)) for i, k in s.classes.items() if k == kind}
            for s in (found, true)
        ]
        crowd = set().union(*(pixels for i, pixels in sets[1].items() if i in true.crowds))
        wanted = {i: pixels for i, pixels in sets[1].items() if i not in true.crowds}
        met = set()
        for mine in sets[0].values():
            hits = {i: len(mine & its) / len((mine - void) | its) for i, its in wanted.items()}
            best = max(hits, key=lambda i: hits[i], default=None)
            if best is not None and hits[best] > 0.5:
                total, weight = total + hits[best], weight + 1
                met.add(best)
            elif len(mine & (void | crowd)) / len(mine) <= 0.5:
                weight += 0.5
        weight += 0.5 * len(wanted.keys() - met)
    return total, weight


def scene(rng: np.random.Generator, *, moved: np.ndarray | None = None) -> Panoptic:
    """Rectangles over one another; with ``moved`` the same ones, a little off, some of another class."""
    ids = np.zeros((24, 30), dtype=np.int64) if moved is None else moved.copy()
    for i in range(1, 7):
        y, x = rng.integers(0, 18), rng.integers(0, 22)
        ids[y : y + rng.integers(2, 9), x : x + rng.integers(2, 9)] = i
    ids[rng.random(ids.shape) < 0.1] = 0
    present = [int(i) for i in np.unique(ids) if i]
    return Panoptic(ids, {i: int(rng.integers(0, 3)) if rng.random() < 0.2 else i % 3 for i in present})


def scenes(count: int = 12) -> list[tuple[Panoptic, Panoptic]]:
    rng, pairs = np.random.default_rng(1), []
    for _ in range(count):
        true = scene(rng)
        crowds = frozenset(i for i in true.classes if rng.random() < 0.2)
        off = np.roll(true.ids, int(rng.integers(0, 2)), axis=1)
        off[:, :4] = scene(rng).ids[:, :4]
        classes = {int(i): true.classes.get(int(i), int(i) % 3) for i in np.unique(off) if i}
        pairs.append((Panoptic(off, classes), Panoptic(true.ids, true.classes, crowds)))
    return pairs


def test_every_class_has_the_figures_of_slow_loops():
    pairs, metric = scenes(), quality()
    for found, true in pairs:
        metric.update(found, true)
    for kind in range(3):
        total, weight = in_loops(pairs, kind)
        assert metric.per_class()[kind] == pytest.approx(total / weight, abs=1e-12)
    assert 0.2 < metric.compute() < 0.95


def test_it_is_the_product_of_recognition_and_segmentation_quality():
    metrics = [quality(figure=figure) for figure in ("pq", "sq", "rq")]
    for found, true in scenes():
        for metric in metrics:
            metric.update(found, true)
    pq, sq, rq = (metric.per_class() for metric in metrics)
    np.testing.assert_allclose(pq, sq * rq)


def test_a_perfect_prediction_has_one_and_nothing_has_none():
    metric, true = quality(), scene(np.random.default_rng(0))
    assert math.isnan(metric.compute())
    metric.update(true, true)
    assert metric.compute() == 1


def row(*ids: int, classes: dict[int, int] | None = None, crowds: tuple[int, ...] = ()) -> Panoptic:
    kinds = {i: 0 for i in set(ids) if i} if classes is None else classes
    return Panoptic(np.array([ids]), kinds, frozenset(crowds))


def test_void_of_the_target_is_left_out_of_the_union():
    metric = quality()
    metric.update(row(1, 1, 1, 1), row(7, 7, 0, 0))
    assert metric.compute() == 1


def test_a_segment_on_void_or_on_a_crowd_of_its_class_does_not_count_and_one_on_others_does():
    for target, wrong in ((row(0, 0, 0, 5), 0), (row(6, 6, 6, 5, crowds=(6,)), 0)):
        metric = quality()
        metric.update(row(1, 1, 1, 2), target)
        assert metric.extra.tolist() == [wrong, 0, 0]
        assert metric.matches.tolist() == [1, 0, 0]
    metric = quality()
    metric.update(row(1, 1, 1, 2), row(6, 6, 6, 5, classes={6: 1, 5: 0}, crowds=(6,)))
    assert metric.extra.tolist() == [1, 0, 0]


def test_half_is_no_match():
    metric = quality()
    metric.update(row(1, 1, 2, 2), row(3, 3, 3, 3))
    assert (metric.matches.sum(), metric.extra.sum(), metric.missed.sum()) == (0, 2, 1)


def test_the_average_is_over_the_classes_asked_for_that_occur():
    metric, things = quality(), quality(among=(0, 2))
    for m in (metric, things):
        m.update(row(1, 2, classes={1: 0, 2: 1}), row(1, 3, classes={1: 0, 3: 1}))
        m.update(row(4, classes={4: 1}), row(4, classes={4: 0}))
    assert metric.compute() == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert things.compute() == pytest.approx(2 / 3)


def test_halves_merge_to_the_whole():
    whole, first, second = quality(), quality(), quality()
    for i, (found, true) in enumerate(scenes(6)):
        whole.update(found, true)
        (first, second)[i % 2].update(found, true)
    first.merge(second)
    assert first.compute() == pytest.approx(whole.compute(), abs=1e-14)


def test_an_unknown_figure_is_refused():
    with pytest.raises(ValueError, match="figure must be 'pq', 'sq' or 'rq', not 'ap'"):
        quality(figure="ap")


def test_segments_without_a_class_are_refused():
    with pytest.raises(ValueError, match=r"these lack one of them: \[2\]"):
        quality().update(row(1, 2, classes={1: 0}), row(1, 1))


def test_pictures_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match=r"shape \(1, 2\), its target \(1, 3\)"):
        quality().update(row(1, 2), row(1, 1, 1))
