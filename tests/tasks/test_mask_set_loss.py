"""Masks as a set: costs and losses written out, transformers' Mask2Former and OneFormer, points, empty sets."""

import itertools
import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from unimodal.tasks.parts.mask_points import at_points, unsure_points
from unimodal.tasks.parts.matching import Matching
from unimodal.tasks.parts.objects import Objects
from unimodal.tasks.parts.sampled_masks import SampledMasks
from unimodal.tasks.parts.set_loss import SetLoss
from unimodal.tasks.parts.set_prediction import SetPrediction
from unimodal.tasks.parts.softmax_classes import SoftmaxClasses

CLASSES, QUERIES, POINTS = 5, 6, 112
COUNTS = [(3, 2), (0, 2), (2, 0), (1, 1), (9, 4)]  # objects of the two pictures; nine are more than the queries


def guesses(layers: int = 3, dtype: torch.dtype = torch.float32) -> list[SetPrediction]:
    drawn = [
        (torch.randn(2, QUERIES, CLASSES + 1, dtype=dtype), 3 * torch.randn(2, QUERIES, 7, 9, dtype=dtype))
        for _ in range(layers)
    ]
    return [SetPrediction(classes, masks=masks) for classes, masks in drawn]


def sets(counts: tuple[int, ...]) -> list[Objects]:
    return [Objects(torch.randint(CLASSES, (m,)), masks=(torch.rand(m, 14, 18) > 0.6).float()) for m in counts]


def criteria(points: int = POINTS) -> list[Any]:
    return [SoftmaxClasses(), SampledMasks(points=points)]


def of_mask2former() -> Any:
    module = pytest.importorskip("transformers.models.mask2former.modeling_mask2former")
    config = SimpleNamespace(
        num_labels=CLASSES,
        no_object_weight=0.1,
        train_num_points=POINTS,
        oversample_ratio=3.0,
        importance_sample_ratio=0.75,
        class_weight=2.0,
        mask_weight=5.0,
        dice_weight=5.0,
    )
    return module.Mask2FormerLoss(config, {})


def of_oneformer() -> Any:
    module = pytest.importorskip("transformers.models.oneformer.modeling_oneformer")
    matcher = module.OneFormerHungarianMatcher(2.0, 5.0, 5.0, num_points=POINTS)
    loss = module.OneFormerLoss(CLASSES, matcher, {}, 0.1, POINTS, 3.0, 0.75)
    forward = loss.forward

    def plain(masks: Any, classes: Any, wanted: Any, labels: Any, auxiliary: Any) -> Any:
        each = [forward(masks, classes, None, wanted, labels, None, None, False)]
        for layer in auxiliary:
            of_layer = (layer["masks_queries_logits"], layer["class_queries_logits"])
            each.append(forward(*of_layer, None, wanted, labels, None, None, False))
        return {f"{name}_{i}": value for i, losses in enumerate(each) for name, value in losses.items()}

    loss.forward = plain
    return loss


@pytest.mark.parity
@pytest.mark.parametrize("reference", [of_mask2former, of_oneformer])
@pytest.mark.parametrize("counts", COUNTS)
def test_losses_of_all_layers_and_their_gradients_are_those_of_transformers(reference, counts):
    torch.manual_seed(1)
    layers, targets = guesses(), sets(counts)
    leaves = [t.requires_grad_() for layer in layers for t in (layer.classes, layer.masks) if t is not None]
    auxiliary = [{"masks_queries_logits": p.masks, "class_queries_logits": p.classes} for p in layers[1:]]
    wanted = ([t.masks for t in targets], [t.classes for t in targets])
    torch.manual_seed(2)
    theirs = reference()(layers[0].masks, layers[0].classes, *wanted, auxiliary)
    torch.manual_seed(2)
    ours = SetLoss(criteria())(layers, targets)
    for name, word, weight in (("classes", "cross_entropy", 2), ("masks", "mask", 5), ("dice", "dice", 5)):
        expected = weight * sum(value.sum() for key, value in theirs.items() if key.startswith(f"loss_{word}"))
        torch.testing.assert_close(ours[name], expected, rtol=1e-5, atol=1e-6)
    weights = {"cross_entropy": 2, "mask": 5, "dice": 5}
    whole: Any = sum(next(w for n, w in weights.items() if f"loss_{n}" in key) * v.sum() for key, v in theirs.items())
    for own, other in zip(
        torch.autograd.grad(torch.stack(list(ours.values())).sum(), leaves),
        torch.autograd.grad(whole, leaves),
        strict=True,
    ):
        torch.testing.assert_close(own, other, rtol=1e-5, atol=1e-6)


def test_costs_are_the_papers_equations_in_loops(monkeypatch):
    torch.manual_seed(3)
    (layer,), (objects,) = guesses(1, torch.float64), sets((2,))
    points = torch.rand(1, 20, 2)
    monkeypatch.setattr(torch, "rand", lambda *_, **__: points)
    made = SampledMasks(points=20, cross_entropy=3.0, dice=4.0).cost(layer, 0, objects)
    assert layer.masks is not None
    assert objects.masks is not None
    logits, masks = at_points(layer.masks[0], points).tolist(), at_points(objects.masks, points).tolist()
    for n, m in itertools.product(range(QUERIES), range(2)):
        p = [1 / (1 + math.exp(-z)) for z in logits[n]]
        crossed = sum(-t * math.log(q) - (1 - t) * math.log(1 - q) for q, t in zip(p, masks[m], strict=True)) / 20
        both = sum(q * t for q, t in zip(p, masks[m], strict=True))
        apart = 1 - (2 * both + 1) / (sum(p) + sum(masks[m]) + 1)
        assert float(made[n, m]) == pytest.approx(3 * crossed + 4 * apart, rel=1e-5)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (4, 4), (4, 0)])
def test_the_matching_is_the_best_of_all(shape):
    cost = torch.randn(shape, dtype=torch.float64)
    matching = Matching.cheapest([cost])
    wide = cost if shape[0] <= shape[1] else cost.mT
    best = min(
        sum(float(wide[i, j]) for i, j in enumerate(chosen))
        for chosen in itertools.permutations(range(wide.shape[1]), wide.shape[0])
    )
    assert len(matching.queries[0]) == min(shape)
    assert float(cost[matching.queries[0], matching.objects[0]].sum()) == pytest.approx(best)


def test_a_cost_that_is_not_finite_is_taken_only_if_nothing_else_is_left():
    matching = Matching.cheapest([torch.tensor([[math.nan, 1.0], [math.inf, -math.inf], [2.0, 3.0]])])
    assert (matching.queries[0].tolist(), matching.objects[0].tolist()) == ([0, 2], [1, 0])


def test_a_point_at_the_centre_of_a_cell_reads_the_cell_and_between_two_their_mean():
    masks = torch.arange(12.0).reshape(1, 3, 4)
    points = torch.tensor([[[0.625, 0.5], [0.5, 0.5], [0.125, 1 / 3]]])
    torch.testing.assert_close(at_points(masks, points), torch.tensor([[6.0, 5.5, 2.0]]))
    both = torch.cat([masks, -masks])
    assert torch.equal(at_points(both, points), at_points(both, points.expand(2, -1, -1)))


def test_unsure_points_are_the_candidates_nearest_to_the_edge_of_the_mask():
    logits = torch.linspace(-8, 8, 33).expand(2, 33, 33)
    points = unsure_points(logits, 200)
    assert points.shape == (2, 200, 2)
    doubt = at_points(logits, points).abs()
    assert float(doubt[:, :150].max()) < 3.5  # of 600 candidates spread over 8, the nearest 150 lie within a quarter
    assert float(doubt[:, 150:].max()) > 5
    assert unsure_points(logits[:0], 8).shape == (0, 8, 2)


def test_losses_have_the_gradients_of_their_values():
    (layer,), targets = guesses(1, torch.float64), sets((2, 1))
    matching = SetLoss(criteria(24)).match(layer, targets)

    def total(classes, masks):
        torch.manual_seed(4)  # the same points at every call
        changed = SetPrediction(classes, masks=masks)
        each = [
            c.losses(changed, targets, matching, 3.0) for c in (SoftmaxClasses(), SampledMasks(points=24, importance=0))
        ]
        return torch.stack([value for losses in each for value in losses.values()])

    assert layer.masks is not None
    assert torch.autograd.gradcheck(total, (layer.classes.requires_grad_(), layer.masks.requires_grad_()))


def test_the_order_of_objects_and_of_queries_does_not_matter():
    torch.manual_seed(5)
    (layer,), targets = guesses(1), sets((3, 2))
    assert layer.masks is not None
    turned = SetPrediction(layer.classes.flip(1), masks=layer.masks.flip(1))
    backwards = [Objects(t.classes.flip(0), masks=t.masks.flip(0)) for t in targets if t.masks is not None]
    loss = SetLoss(criteria())
    torch.manual_seed(6)  # the same points for both
    one = loss.match(layer, targets)
    torch.manual_seed(6)
    other = loss.match(turned, backwards)
    for b in range(2):
        last = len(targets[b]) - 1
        pairs = {
            (QUERIES - 1 - q, last - m)
            for q, m in zip(other.queries[b].tolist(), other.objects[b].tolist(), strict=True)
        }
        assert pairs == set(zip(one.queries[b].tolist(), one.objects[b].tolist(), strict=True))


def test_what_does_not_fit_is_refused():
    layer, targets = guesses(1)[0], sets((1, 1))
    with pytest.raises(ValueError, match="at least one criterion"):
        SetLoss([])
    with pytest.raises(ValueError, match="as many pictures"):
        SetLoss(criteria())([layer], targets[:1])
    with pytest.raises(ValueError, match="as many pictures"):
        SetLoss(criteria())([], targets)
    with pytest.raises(ValueError, match="masks are needed here, and SetPrediction"):
        SetLoss(criteria())([SetPrediction(layer.classes)], targets)
    small = Objects(torch.zeros(1, dtype=torch.long), masks=torch.ones(1, 3, 3))
    with pytest.raises(ValueError, match="one size"):
        SetLoss(criteria())([layer], [targets[0], small])
    with pytest.raises(ValueError, match="points and oversample"):
        SampledMasks(points=0)
    with pytest.raises(ValueError, match=r"classes must be \(M,\)"):
        Objects(torch.zeros(1, 1, dtype=torch.long))
    with pytest.raises(ValueError, match=r"masks must be \(1, Y, X\)"):
        Objects(torch.zeros(1, dtype=torch.long), masks=torch.ones(2, 3, 3))
    with pytest.raises(ValueError, match=r"boxes must be \(1, 4\)"):
        Objects(torch.zeros(1, dtype=torch.long), boxes=torch.ones(1, 5))
