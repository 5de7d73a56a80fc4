"""ViT sizes against the published counts, and a forward pass."""

import pytest
import torch

from unimodal.part import Part
from unimodal.recipes.vit import vit
from unimodal.sample import Batch

# The published code's encoders, without a classifier; one row of D more than ours (the class token's position).
PUBLISHED = [
    ("tiny", 16, 192, 5_524_416),
    ("small", 16, 384, 21_665_664),
    ("base", 16, 768, 85_798_656),
    ("large", 16, 1024, 303_301_632),
    ("huge", 14, 1280, 630_764_800),
]


@pytest.mark.parametrize("size, patch, dim, count", PUBLISHED)
def test_sizes_have_the_published_parameter_counts(size, patch, dim, count):
    with torch.device("meta"):
        model = vit(size, patch=patch)()
    assert sum(p.numel() for p in model.parameters()) + dim == count


def test_giant_has_1843_million_parameters():
    with torch.device("meta"):
        model = vit("giant", patch=14)()
    assert round(sum(p.numel() for p in model.parameters()) / 1e6) in (1842, 1843)


def test_it_reads_pictures_of_other_sizes():
    model = vit("tiny", image=32, registers=2, layer_scale=1e-5)()
    batch = Batch("image", torch.randn(3, 3, 48, 32))
    assert model(batch).x.shape == (3, 3 + 6, 192)
    assert model.embed(batch).shape == (3, 192)


def test_it_is_a_part_that_round_trips():
    part = vit("tiny")
    assert Part.from_json(part.to_json()) == part


def test_an_unknown_size_is_refused():
    with pytest.raises(ValueError, match="size must be one of tiny"):
        vit("mini")


def test_an_image_that_patches_do_not_fill_is_refused():
    with pytest.raises(ValueError, match="multiple of patch 16 px, not 230"):
        vit("tiny", image=230)
