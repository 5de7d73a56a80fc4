"""Average precision: equal to pycocotools' evaluation and to slow loops on random scenes; halves; refusals."""

import contextlib
import io
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from unimodal.average_precision import AveragePrecision
from unimodal.instances import Instances
from unimodal.run_lengths import areas, boxes_of, decode, encode

pytest.importorskip("pycocotools")

FIGURES = ("ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large", "ar100")
SIZE, CLASSES = (150, 190), 3


def same(objects: Instances) -> Instances:
    return objects


def metric(figure: str = "ap", kind: str = "boxes") -> AveragePrecision:
    return AveragePrecision(CLASSES, same, same, figure=figure, kind=kind)


def objects(rng: np.random.Generator, boxes: np.ndarray, labels: np.ndarray) -> Instances:
    """Ellipses in these boxes, with their masks."""
    rows, columns = np.ogrid[: SIZE[0], : SIZE[1]]
    masks = []
    for left, upper, right, lower in boxes:
        x, y = (
            (columns + 0.5 - (left + right) / 2) / (right - left),
            (rows + 0.5 - (upper + lower) / 2) / (lower - upper),
        )
        masks.append(encode(x**2 + y**2 < rng.choice([0.25, 0.2])))
    return Instances(SIZE, boxes_of(masks), labels, masks=masks)


def scene(rng: np.random.Generator, *, true: int = 9, extra: int = 4) -> tuple[Instances, Instances]:
    sides = rng.choice([12, 40, 110], (true, 1)) * rng.uniform(0.7, 1.2, (true, 2))
    corner = rng.uniform(0, 1, (true, 2)) * (np.array(SIZE[::-1]) - sides)
    boxes, labels = np.concatenate([corner, corner + sides], 1), rng.integers(0, CLASSES - 1, true)  # one never occurs
    wanted = objects(rng, boxes, labels)
    wanted = replace(wanted, crowds=rng.random(true) < 0.2, areas=areas(wanted.masks or ()) * rng.uniform(0.9, 1, true))
    chosen = rng.integers(0, true, true + extra)
    moved = boxes[chosen] + rng.normal(0, 0.04, (len(chosen), 4)) * sides[chosen][:, [0, 1, 0, 1]]
    guessed = np.where(rng.random(len(chosen)) < 0.8, labels[chosen], rng.integers(0, CLASSES, len(chosen)))
    found = objects(rng, moved, guessed)
    return replace(found, scores=rng.random(len(chosen)).round(2)), wanted


def scenes(count: int = 8) -> list[tuple[Instances, Instances]]:
    rng = np.random.default_rng(3)
    none = Instances(SIZE, np.zeros((0, 4)), np.zeros(0, int), np.zeros(0), [])
    pairs = [scene(rng) for _ in range(count)]
    return [*pairs, (none, pairs[0][1]), (pairs[1][0], none), scene(rng, true=2, extra=150)]


def by_pycocotools(pairs: list[tuple[Instances, Instances]], kind: str) -> np.ndarray:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": k} for k in range(CLASSES)]}
    results = []
    for number, (found, true) in enumerate(pairs):
        truth["images"].append({"id": number, "height": SIZE[0], "width": SIZE[1]})
        for i in range(len(true)):
            row = _row(true, number, i) | {"id": len(truth["annotations"]) + 1}
            row |= {"area": float(np.asarray(true.areas)[i]), "iscrowd": int(np.asarray(true.crowds)[i])}
            truth["annotations"].append(row)
        for i in range(len(found)):
            row = _row(found, number, i) | {"score": float(np.asarray(found.scores)[i])}
            del row["bbox" if kind == "masks" else "segmentation"]
            results.append(row)
    with contextlib.redirect_stdout(io.StringIO()):
        coco: Any = COCO()
        coco.dataset = truth
        coco.createIndex()
        judge = COCOeval(coco, coco.loadRes(results), "segm" if kind == "masks" else "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return np.asarray(judge.stats)[[0, 1, 2, 3, 4, 5, 8]]


def _row(things: Instances, number: int, i: int) -> dict[str, Any]:
    left, upper, right, lower = things.boxes[i].tolist()
    bbox, masks = [left, upper, right - left, lower - upper], things.masks or ()
    return {"image_id": number, "category_id": int(things.labels[i]), "bbox": bbox, "segmentation": masks[i]}


@pytest.mark.parametrize("kind", ["boxes", "masks"])
def test_every_figure_is_that_of_pycocotools(kind):
    pairs = scenes()
    metrics = [metric(figure, kind) for figure in FIGURES]
    for found, true in pairs:
        for one in metrics:
            one.update(found, true)
    mine = np.array([one.compute() for one in metrics])
    np.testing.assert_allclose(mine, by_pycocotools(pairs, kind), rtol=0, atol=1e-12)
    assert (mine > 0.05).all()
    assert (mine < 0.95).all()


def in_loops(pairs: list[tuple[Instances, Instances]], label: int, threshold: float, kind: str) -> float:
    """The average precision of one class at one overlap, object by object; NaN without true ones."""
    ranked, wanted = [], 0
    for found, true in pairs:
        mine = [i for i in range(len(found)) if found.labels[i] == label]
        mine = sorted(mine, key=lambda i: -np.asarray(found.scores)[i])[:100]
        its = [j for j in range(len(true)) if true.labels[j] == label]
        crowd = {j: bool(np.asarray(true.crowds)[j]) for j in its}
        wanted += sum(not crowd[j] for j in its)
        taken: set[int] = set()
        for i in mine:
            best: dict[bool, tuple[float, int]] = {True: (threshold, -1), False: (threshold, -1)}
            for j in its:
                a, b = _pixels(found, i, kind), _pixels(true, j, kind)
                inside = _both(a, b)
                shared = inside / (_size(a) if crowd[j] else _size(a) + _size(b) - inside)
                if (crowd[j] or j not in taken) and shared >= best[crowd[j]][0]:
                    best[crowd[j]] = (shared, j)
            if best[False][1] >= 0:
                taken.add(best[False][1])
                ranked.append((np.asarray(found.scores)[i], True))
            elif best[True][1] < 0:
                ranked.append((np.asarray(found.scores)[i], False))
    if wanted == 0:
        return math.nan
    ranked.sort(key=lambda pair: -pair[0])
    points, right = [], 0
    for rank, (_, hit) in enumerate(ranked, 1):
        right += hit
        points.append((right / wanted, right / rank))
    steps = np.linspace(0, 1, 101)
    return sum(max((p for r, p in points if r >= step), default=0.0) for step in steps) / 101


def _pixels(things: Instances, i: int, kind: str) -> Any:
    return decode((things.masks or ())[i]) if kind == "masks" else things.boxes[i]


def _size(a: Any) -> float:
    return float(a.sum()) if a.dtype == bool else float((a[2] - a[0]) * (a[3] - a[1]))


def _both(a: Any, b: Any) -> float:
    if a.dtype == bool:
        return float((a & b).sum())
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return float(max(wide, 0) * max(high, 0))


@pytest.mark.parametrize("kind", ["boxes", "masks"])
@pytest.mark.parametrize("figure, threshold", [("ap50", 0.5), ("ap75", 0.75)])
def test_every_class_has_the_precision_of_slow_loops(figure, threshold, kind):
    pairs, one = scenes(4)[:6], metric(figure, kind)
    for found, true in pairs:
        one.update(found, true)
    expected = [in_loops(pairs, label, threshold, kind) for label in range(CLASSES)]
    np.testing.assert_allclose(one.per_class(), expected, rtol=0, atol=1e-12)


def test_what_is_true_has_one_and_nothing_has_none():
    one = metric()
    assert math.isnan(one.compute())
    true = replace(scene(np.random.default_rng(0))[1], crowds=None)
    one.update(replace(true, scores=np.ones(len(true))), true)
    assert one.compute() == pytest.approx(1, abs=1e-12)


def test_true_objects_without_found_ones_have_zero():
    for figure in ("ap", "ar100"):
        one, true = metric(figure), replace(scene(np.random.default_rng(0))[1], crowds=None)
        one.update(Instances(SIZE, np.zeros((0, 4)), np.zeros(0, int), np.zeros(0)), true)
        assert one.compute() == 0


def test_halves_merge_to_the_whole():
    whole, first, second = metric(), metric(), metric()
    for i, (found, true) in enumerate(scenes()):
        whole.update(found, true)
        (first if i < 5 else second).update(found, true)
    first.merge(second)
    assert first.compute() == whole.compute()


def test_an_unknown_figure_or_kind_is_refused():
    with pytest.raises(ValueError, match="figure must be one of ap, ap50, .*, not 'pq'"):
        metric("pq")
    with pytest.raises(ValueError, match="kind must be 'boxes' or 'masks', not 'points'"):
        metric(kind="points")


def test_what_cannot_be_compared_is_refused():
    found, true = scene(np.random.default_rng(0))
    with pytest.raises(ValueError, match="found objects need scores"):
        metric().update(true, true)
    with pytest.raises(ValueError, match="objects need masks"):
        metric(kind="masks").update(replace(found, masks=None), true)
    with pytest.raises(ValueError, match=r"of the size \(150, 190\), its target of \(1, 2\)"):
        metric().update(found, replace(true, size=(1, 2)))
    with pytest.raises(ValueError, match=r"classes must be within 0..2, not 3"):
        metric().update(replace(found, labels=found.labels * 0 + 3), true)
