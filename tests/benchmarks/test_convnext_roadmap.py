"""The road from ResNet to ConvNeXt: every step runs, differs from the one before, and the last is the recipe."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch

from benchmarks.convnext_roadmap import ROADMAP, after, network
from unimodal.part import Part
from unimodal.recipes.convnext import convnext
from unimodal.sample import Batch


@pytest.mark.parametrize("step", ROADMAP)
def test_every_step_is_a_part_that_trains(step):
    part = network(after(step), classes=10)
    assert Part.from_json(part.to_json()) == part
    model: Any = part()
    logits = model.embed(Batch("image", torch.randn(3, 3, 32, 40)))
    assert logits.shape == (3, 10)
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_every_step_changes_the_network():
    parts = [network(after(step), classes=10) for step in ROADMAP]
    assert len(parts) == 13
    assert all(a != b for a, b in pairwise(parts))


def test_the_first_step_has_the_blocks_and_the_stem_of_a_resnet():
    model: Any = network(after("ResNet"), classes=10)()
    kinds = [type(part).__name__ for part in model.transformer.stages[1].blocks[0].parts[0].branch[0].parts]
    assert kinds == ["Linear", "BatchNorm", "Activated", "Convolution", "BatchNorm", "Activated", "Linear", "BatchNorm"]
    assert [math.prod(tokens.side.grid) for tokens in model.features(Batch("image", torch.randn(2, 3, 64, 64)), [1, 2])]
    assert model.transformer.strides == (1, 1, 2, 4, 8, 16)


def test_the_last_step_is_the_recipe_without_layer_scale():
    last: Any = network(after("separate shrinking"), classes=10)().double().eval()
    recipe: Any = convnext(depths=(1, 1, 3, 1), widths=(24, 48, 96, 192), layer_scale=None, classes=10)()
    recipe = recipe.double().eval()
    with torch.no_grad():
        for ours, theirs in zip(recipe.parameters(), last.parameters(), strict=True):
            ours.copy_(theirs)
    batch = Batch("image", torch.randn(2, 3, 64, 64, dtype=torch.float64))
    torch.testing.assert_close(recipe.embed(batch), last.embed(batch))


def test_an_unknown_step_is_refused():
    with pytest.raises(ValueError, match="step must be one of ResNet, .*not 'wide'"):
        after("wide")
