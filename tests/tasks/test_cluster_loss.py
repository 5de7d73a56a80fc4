"""Cluster loss: the released code's equations in loops, void, matching, gradients, perfect guesses, refusals."""

import math
from typing import Any

import pytest
import torch

from unimodal.tasks.parts.cluster_loss import ClusterLoss
from unimodal.tasks.parts.objects import Objects
from unimodal.tasks.parts.set_prediction import SetPrediction

CLASSES, QUERIES, PIXELS = 3, 4, 12


def guesses(layers=2, dtype=torch.float64) -> Any:
    torch.manual_seed(1)
    return [
        SetPrediction(
            torch.randn(2, QUERIES, CLASSES + 1, dtype=dtype), masks=2 * torch.randn(2, QUERIES, 3, 4, dtype=dtype)
        )
        for _ in range(layers)
    ]


def sets(counts=(2, 1)) -> Any:
    """Objects that share the picture's pixels among them; every fourth pixel or so is void."""
    torch.manual_seed(2)
    owners = [torch.randint(-1, max(1, count), (3, 4)) for count in counts]
    return [
        Objects(
            torch.randint(CLASSES, (m,)), masks=torch.stack([o == i for i in range(m)]) if m else torch.zeros(0, 3, 4)
        )
        for m, o in zip(counts, owners, strict=True)
    ]


def softmax(row):
    whole = sum(map(math.exp, row))
    return [math.exp(z) / whole for z in row]


def mean_of_nonzero(terms):
    return sum(terms) / max(1, sum(t != 0 for t in terms))


def in_loops(layers, targets, matching, least=1e-5):
    total = {"classes": 0.0, "dice": 0.0, "pixels": 0.0}
    for b, objects in enumerate(targets):
        masks = objects.masks.flatten(1).long().tolist()
        pairs = dict(zip(matching.queries[b].tolist(), matching.objects[b].tolist(), strict=True))
        taken = [sum(masks[m][i] for m in pairs.values()) for i in range(PIXELS)]
        last = layers[-1]
        at = [softmax(last.masks[b].flatten(1)[:, i].tolist()) for i in range(PIXELS)]
        seen = [any(m[i] for m in masks) for i in range(PIXELS)]
        for layer in layers:
            own = [softmax(layer.masks[b].flatten(1)[:, i].tolist()) for i in range(PIXELS)]
            named = []
            for n in range(QUERIES):
                p_class = softmax(layer.classes[b, n].tolist())
                if n in pairs:
                    mask, kind = masks[pairs[n]], int(objects.classes[pairs[n]])
                    both = sum(at[i][n] * mask[i] for i in range(PIXELS) if seen[i])
                    weight = both / ((sum(at[i][n] for i in range(PIXELS) if seen[i]) + sum(mask)) / 2 + 1e-5)
                    trust = max(least, softmax(last.classes[b, n].tolist())[kind])
                    both = sum(own[i][n] * mask[i] for i in range(PIXELS) if taken[i])
                    whole = sum(own[i][n] for i in range(PIXELS) if taken[i]) + sum(mask)
                    total["dice"] += 3 * 0.75 * trust * (1 - (2 * both + 1) / (whole + 1)) / QUERIES / 2
                    named.append(-math.log(p_class[kind]) * 0.75 * max(least, weight))
                else:
                    lost = sum(at[i][n] for i in range(PIXELS) if not taken[i])
                    weight = lost / (sum(at[i][n] for i in range(PIXELS)) + 1e-5)
                    named.append(-math.log(p_class[-1]) * 0.25 * max(least, weight))
            placed = []
            for i in range(PIXELS):
                shares = [masks[pairs[n]][i] if n in pairs else 0 for n in range(QUERIES)]
                placed.append(-sum(s * math.log(own[i][n]) for n, s in enumerate(shares)) / max(1, taken[i]))
            total["classes"] += 3 * mean_of_nonzero(named) / 2
            total["pixels"] += 0.3 * mean_of_nonzero(placed) / 2
    return total


@pytest.mark.parametrize("counts", [(2, 1), (0, 2), (0, 0), (1, 1), (6, 4)])
def test_losses_are_the_released_codes_equations_in_loops(counts):
    layers, targets = guesses(), sets(counts)
    loss = ClusterLoss()
    expected = in_loops(layers, targets, loss.match(layers[-1], targets)[0])
    made = loss(layers, targets)
    for name, value in expected.items():
        assert float(made[name]) == pytest.approx(value, abs=1e-12), name


def test_losses_have_the_gradients_of_their_values():
    layers, targets = guesses(), sets()

    def total(classes, masks):  # the last layer, which weighs, stays
        return torch.stack(list(ClusterLoss()([SetPrediction(classes, masks=masks), layers[1]], targets).values()))

    assert torch.autograd.gradcheck(total, (layers[0].classes.requires_grad_(), layers[0].masks.requires_grad_()))


def test_void_pixels_of_a_layer_have_no_influence_on_its_losses():
    layers, targets = guesses(), sets()
    before = ClusterLoss()(layers, targets)
    void = torch.stack([~t.masks.any(0) for t in targets])
    assert bool(void.any())
    changed = SetPrediction(
        layers[0].classes, masks=layers[0].masks + 5 * void[:, None] * torch.randn(2, QUERIES, 3, 4)
    )
    after = ClusterLoss()([changed, layers[1]], targets)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_perfect_guess_is_matched_and_costs_nothing():
    (objects, _) = sets((2, 1))
    void = ~objects.masks.any(0)
    masks = torch.cat([objects.masks.flip(0), void[None], torch.zeros(1, 3, 4)]).double() * 60
    kinds = [int(objects.classes[1]), int(objects.classes[0]), CLASSES, CLASSES]
    classes = torch.nn.functional.one_hot(torch.tensor(kinds), CLASSES + 1).double() * 60
    layer = SetPrediction(classes[None], masks=masks[None])
    matching, dice, probability = ClusterLoss().match(layer, [objects])
    assert (matching.queries[0].tolist(), matching.objects[0].tolist()) == ([0, 1], [1, 0])
    torch.testing.assert_close(dice, torch.ones_like(dice), rtol=0, atol=1e-5)
    torch.testing.assert_close(probability, torch.ones_like(probability))
    assert all(float(value) < 1e-9 for value in ClusterLoss()([layer], [objects]).values())


def test_what_does_not_fit_is_refused():
    (layer,), targets = guesses(1), sets()
    with pytest.raises(ValueError, match="at least one layer"):
        ClusterLoss()([], targets)
    with pytest.raises(ValueError, match="masks are needed here, and SetPrediction"):
        ClusterLoss()([SetPrediction(layer.classes)], targets)
    larger = SetPrediction(layer.classes, masks=torch.zeros(2, QUERIES, 4, 4))
    with pytest.raises(ValueError, match="masks of 16 px cannot be compared with objects of 12"):
        ClusterLoss()([larger], targets)
