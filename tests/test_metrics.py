"""Metrics: their definitions on small counts, and that halves merge to the whole."""

import math

import numpy as np
import pytest

from unimodal.metrics import Accuracy, ConfusionMatrix


def test_accuracy_is_the_share_of_targets_among_the_first_classes():
    one, two = Accuracy(list), Accuracy(list, top=2)
    for ranked, target in (("abc", "a"), ("abc", "b"), ("cab", "b"), ("bca", "b")):
        one.update(ranked, target)
        two.update(ranked, target)
    assert one.compute() == 2 / 4
    assert two.compute() == 3 / 4


def test_figures_of_nothing_are_nan():
    assert math.isnan(Accuracy(list).compute())
    assert math.isnan(ConfusionMatrix(3, np.asarray).compute())
    assert math.isnan(ConfusionMatrix(3, np.asarray, figure="pixel_accuracy").compute())


def test_mean_iou_is_that_of_slow_loops():
    rng = np.random.default_rng(0)
    predicted, target = rng.integers(0, 4, (9, 7)), rng.integers(0, 3, (9, 7))
    matrix = ConfusionMatrix(5, np.asarray)
    matrix.update(predicted, target)
    ious = []
    for k in range(5):
        union = sum(p == k or t == k for p, t in zip(predicted.flat, target.flat, strict=True))
        hit = sum(p == k and t == k for p, t in zip(predicted.flat, target.flat, strict=True))
        ious.append(hit / union if union else None)
    assert matrix.iou()[:4] == pytest.approx(ious[:4])
    assert np.isnan(matrix.iou()[4])
    assert ious[4] is None
    assert matrix.compute() == pytest.approx(np.mean(ious[:4]))


def test_void_in_the_target_has_no_influence_whatever_its_number():
    target = np.array([[0, 1], [1, 255]], dtype=np.uint8)
    for anything in (0, 1, -1, 255):
        matrix = ConfusionMatrix(2, np.asarray)
        matrix.update(np.array([[0, 1], [0, anything]]), target)
        assert matrix.compute() == pytest.approx((1 / 2 + 1 / 2) / 2)
    matrix = ConfusionMatrix(2, np.asarray)
    matrix.update(np.array([[0, 0]]), np.array([[-1, 0]]))
    assert matrix.compute() == 1


@pytest.mark.parametrize("unseen", [-1, 2, 255])
def test_a_pixel_that_was_not_predicted_is_a_miss_of_its_target_and_of_no_other_class(unseen):
    matrix, share = ConfusionMatrix(2, np.asarray), ConfusionMatrix(2, np.asarray, figure="pixel_accuracy")
    for metric in (matrix, share):
        metric.update(np.array([0, 0, 1, unseen]), np.array([0, 0, 1, 0]))
    assert matrix.iou() == pytest.approx([2 / 3, 1])
    assert share.compute() == 3 / 4


@pytest.mark.parametrize("figure", ["mean_iou", "pixel_accuracy"])
def test_two_halves_merge_to_the_whole(figure):
    rng = np.random.default_rng(1)
    whole, first, second = (ConfusionMatrix(3, np.asarray, figure=figure) for _ in range(3))
    for i in range(6):
        pair = rng.integers(-1, 3, (4, 4)), rng.integers(0, 3, (4, 4))
        whole.update(*pair)
        (first, second)[i % 2].update(*pair)
    first.merge(second)
    assert first.compute() == whole.compute()


def test_two_halves_of_an_accuracy_merge_to_the_whole():
    first, second = Accuracy(list), Accuracy(list)
    first.update("a", "a")
    second.update("b", "a")
    second.update("c", "c")
    first.merge(second)
    assert first.compute() == 2 / 3


def test_an_unknown_figure_is_refused():
    with pytest.raises(ValueError, match="figure must be 'mean_iou' or 'pixel_accuracy', not 'dice'"):
        ConfusionMatrix(2, np.asarray, figure="dice")


def test_a_prediction_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"the prediction has the shape \(2,\), its target \(3,\)"):
        ConfusionMatrix(2, np.asarray).update(np.zeros(2, int), np.zeros(3, int))
