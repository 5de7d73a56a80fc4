"""ConvNeXt V2: published counts, what its blocks hold, pictures of odd sizes."""

from typing import Any

import pytest
import torch

from unimodal.ffns.hidden_norm import HiddenNorm
from unimodal.part import Part
from unimodal.recipes.convnext_v2 import convnext_v2
from unimodal.sample import Batch

# Parameters with a classifier of 1000: timm's.
PUBLISHED = [
    ("atto", 3_708_400),
    ("femto", 5_233_240),
    ("pico", 9_066_280),
    ("nano", 15_623_800),
    ("tiny", 28_635_496),
    ("small", 50_318_440),
    ("base", 88_717_800),
    ("large", 197_956_840),
    ("huge", 660_289_640),
]


@pytest.mark.parametrize("size, parameters", PUBLISHED)
def test_sizes_have_the_published_parameter_counts(size, parameters):
    with torch.device("meta"):
        model: Any = convnext_v2(size, classes=1000)()
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_its_blocks_have_a_global_response_norm_and_no_scale():
    model: Any = convnext_v2("atto")()
    for stage in model.transformer.stages:
        for block in stage.blocks:
            assert isinstance(block.branch[2], HiddenNorm)
            assert block.scale is None


def test_it_reads_odd_pictures():
    model: Any = convnext_v2("atto", classes=7)().eval()
    with torch.inference_mode():
        assert model.embed(Batch("image", torch.randn(2, 3, 45, 70))).shape == (2, 7)


def test_it_round_trips():
    part = convnext_v2("atto", classes=10, drop_path=0.1)
    assert Part.from_json(part.to_json()) == part


def test_an_unknown_size_is_refused():
    with pytest.raises(ValueError, match="size must be one of atto, .*not 'xlarge'"):
        convnext_v2("xlarge")


def test_an_image_that_is_no_multiple_of_a_patch_is_refused():
    with pytest.raises(ValueError, match="image must be a multiple of patch 4 px, not 50"):
        convnext_v2("atto", image=50)
