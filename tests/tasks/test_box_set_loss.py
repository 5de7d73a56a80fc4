"""Boxes as a set: transformers' DETR and Deformable DETR, boxes without area, conversions, gradients."""

from typing import Any

import pytest
import torch

from unimodal.tasks.parts.box_distances import BoxDistances
from unimodal.tasks.parts.boxes import corners, in_pixels, of_picture
from unimodal.tasks.parts.focal_classes import FocalClasses
from unimodal.tasks.parts.matching import Matching
from unimodal.tasks.parts.objects import Objects
from unimodal.tasks.parts.sampled_masks import SampledMasks
from unimodal.tasks.parts.set_loss import SetLoss
from unimodal.tasks.parts.set_prediction import SetPrediction
from unimodal.tasks.parts.softmax_classes import SoftmaxClasses

CLASSES, QUERIES = 4, 6
COUNTS = [(3, 2), (0, 2), (0, 0), (1, 1), (9, 4)]  # nine are more than the queries


def drawn_boxes(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.cat([torch.rand(*shape, 2, dtype=dtype), 0.02 + 0.5 * torch.rand(*shape, 2, dtype=dtype)], -1)


def guesses(outputs: int, layers: int = 3, dtype: torch.dtype = torch.float32) -> list[SetPrediction]:
    drawn = [
        (torch.randn(2, QUERIES, outputs, dtype=dtype), drawn_boxes(2, QUERIES, dtype=dtype)) for _ in range(layers)
    ]
    return [SetPrediction(classes, boxes=boxes) for classes, boxes in drawn]


def sets(counts: tuple[int, ...]) -> list[Objects]:
    return [Objects(torch.randint(CLASSES, (m,)), boxes=drawn_boxes(m)) for m in counts]


def of_detr() -> tuple[Any, Any, int, float]:
    detr = pytest.importorskip("transformers.loss.loss_for_object_detection")
    loss = detr.ImageLoss(detr.HungarianMatcher(1, 5, 2), CLASSES, 0.1, ["labels", "boxes"])
    return loss, SoftmaxClasses(1.0), CLASSES + 1, 1.0


def of_deformable_detr() -> tuple[Any, Any, int, float]:
    deformable = pytest.importorskip("transformers.loss.loss_deformable_detr")
    matcher = deformable.DeformableDetrHungarianMatcher(2, 5, 2)
    loss = deformable.DeformableDetrImageLoss(matcher, CLASSES, 0.25, ["labels", "boxes"])
    return loss, FocalClasses(2.0), CLASSES, 2.0


@pytest.mark.parity
@pytest.mark.parametrize("reference", [of_detr, of_deformable_detr])
@pytest.mark.parametrize("counts", COUNTS)
def test_losses_of_all_layers_and_their_gradients_are_those_of_transformers(reference, counts):
    torch.manual_seed(1)
    loss, classes, outputs, weight = reference()
    layers, targets = guesses(outputs), sets(counts)
    leaves = [t.requires_grad_() for layer in layers for t in (layer.classes, layer.boxes) if t is not None]
    each = [{"logits": layer.classes, "pred_boxes": layer.boxes} for layer in layers]
    labels = [{"class_labels": t.classes, "boxes": t.boxes} for t in targets]
    theirs = loss({**each[0], "auxiliary_outputs": each[1:]}, labels)
    ours = SetLoss([classes, BoxDistances()])(layers, targets)
    whole: Any = 0.0
    for name, word, factor in (("classes", "ce", weight), ("l1", "bbox", 5.0), ("giou", "giou", 2.0)):
        expected = factor * sum(value for key, value in theirs.items() if key.startswith(f"loss_{word}"))
        torch.testing.assert_close(ours[name], expected, rtol=1e-5, atol=1e-6)
        whole = whole + expected
    made = torch.autograd.grad(torch.stack(list(ours.values())).sum(), leaves)
    for own, other in zip(made, torch.autograd.grad(whole, leaves), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("classes, outputs", [(SoftmaxClasses(), CLASSES + 1), (FocalClasses(), CLASSES)])
def test_losses_have_the_gradients_of_their_values(classes, outputs):
    torch.manual_seed(2)
    (layer,), targets = guesses(outputs, 1, torch.float64), sets((2, 1))
    matching = SetLoss([classes, BoxDistances()]).match(layer, targets)

    def total(logits, boxes):
        changed = SetPrediction(logits, boxes=boxes)
        each = [c.losses(changed, targets, matching, 3.0) for c in (classes, BoxDistances())]
        return torch.stack([value for losses in each for value in losses.values()])

    assert layer.boxes is not None
    assert torch.autograd.gradcheck(total, (layer.classes.requires_grad_(), layer.boxes.requires_grad_()))


def test_boxes_without_area_give_finite_losses_and_gradients():
    boxes = torch.tensor([[[0.5, 0.5, 0.0, 0.0], [0.2, 0.2, 0.1, 0.1]]], requires_grad=True)
    objects = Objects(torch.tensor([0]), boxes=torch.tensor([[0.5, 0.5, 0.0, 0.0]]))
    pairs = Matching((torch.tensor([0]),), (torch.tensor([0]),))
    losses = BoxDistances().losses(SetPrediction(torch.zeros(1, 2, 3), boxes=boxes), [objects], pairs, 1.0)
    (gradient,) = torch.autograd.grad(torch.stack(list(losses.values())).sum(), boxes)
    assert all(bool(value.isfinite()) for value in losses.values())
    assert bool(gradient.isfinite().all())


def test_a_perfect_guess_has_no_distance_and_is_matched():
    torch.manual_seed(3)
    (objects,) = sets((3,))
    assert objects.boxes is not None
    boxes = torch.cat([drawn_boxes(3), objects.boxes])
    layer = SetPrediction(torch.zeros(1, 6, CLASSES), boxes=boxes[None])
    loss = SetLoss([FocalClasses(), BoxDistances()])
    matching = loss.match(layer, [objects])
    assert matching.queries[0].tolist() == [3, 4, 5]
    assert matching.objects[0].tolist() == [0, 1, 2]
    losses = loss([layer], [objects])
    assert float(losses["l1"]) == pytest.approx(0, abs=1e-6)
    assert float(losses["giou"]) == pytest.approx(0, abs=1e-5)


def test_boxes_and_masks_are_matched_together():
    torch.manual_seed(4)
    layer = SetPrediction(torch.randn(1, 3, CLASSES), masks=torch.randn(1, 3, 4, 4), boxes=drawn_boxes(1, 3))
    objects = Objects(torch.tensor([1]), masks=torch.rand(1, 8, 8).round(), boxes=drawn_boxes(1))
    losses = SetLoss([FocalClasses(), BoxDistances(), SampledMasks(points=16)])([layer], [objects])
    assert set(losses) == {"classes", "l1", "giou", "masks", "dice"}


def test_boxes_go_to_pixels_and_back():
    boxes = torch.tensor([[0.5, 0.5, 0.5, 0.2], [0.0, 0.0, 0.4, 0.4]], dtype=torch.float64)
    placed = in_pixels(boxes, (50, 80))
    torch.testing.assert_close(placed, torch.tensor([[20, 20, 60, 30], [0, 0, 16, 10]], dtype=torch.float64))
    torch.testing.assert_close(of_picture(placed, (50, 80))[0], boxes[0])
    torch.testing.assert_close(corners(boxes)[1], torch.tensor([-0.2, -0.2, 0.2, 0.2], dtype=torch.float64))


def test_missing_boxes_are_refused():
    layer = guesses(CLASSES, 1)[0]
    with pytest.raises(ValueError, match="boxes are needed here, and Objects has none"):
        SetLoss([BoxDistances()])([layer], [Objects(torch.tensor([0]))] * 2)
