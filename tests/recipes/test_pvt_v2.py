"""PVTv2: published counts and costs, features at every size, pooled keys, no positions, stochastic depth."""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from unimodal.part import Part
from unimodal.recipes.pvt_v2 import pvt_v2
from unimodal.sample import Batch

SMALL = ((1, 8, 1, 2.0, 8), (1, 12, 2, 2.0, 4), (1, 20, 5, 2.0, 2), (1, 16, 4, 2.0, 1))
POOLED = tuple((*row[:4], None) for row in SMALL)
# Parameters with a classifier of 1000, and 1e9 multiply-adds as published, to its digits (b0: 0.57, b5: 11.72).
PUBLISHED = [
    ("b0", 3_666_760, 0.57),
    ("b1", 14_009_000, 2.1),
    ("b2", 25_362_856, 4.0),
    ("b2_li", 22_553_512, 3.9),
    ("b3", 45_238_696, 6.9),
    ("b4", 62_556_072, 10.1),
    ("b5", 81_956_008, 11.8),
]


@pytest.mark.parametrize("size, parameters, billions", PUBLISHED)
def test_sizes_have_the_published_parameters_and_multiply_adds(size, parameters, billions):
    with torch.device("meta"):
        model: Any = pvt_v2(size, classes=1000)().eval()
        pixels = torch.zeros(1, 3, 224, 224)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.embed(Batch("image", pixels))
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert counter.get_total_flops() / 2e9 == pytest.approx(billions, rel=0.02)


@pytest.mark.parametrize(
    "stages, sizes", [(SMALL, (224, 224)), (SMALL, (97, 131)), (SMALL, (29, 40)), (POOLED, (9, 5))]
)
def test_pictures_of_any_size_have_features_of_four_strides(stages, sizes):
    model: Any = pvt_v2(stages=stages, classes=5)().eval()
    assert model.transformer.strides == (1, 1, 2, 4, 8)
    with torch.inference_mode():
        features = model.features(Batch("image", torch.randn(2, 3, *sizes)), [1, 2, 3, 4])
    for i, tokens in enumerate(features):
        grid = tuple(-(-n // (4 * 2**i)) for n in sizes)
        assert (tokens.side.grid, tokens.side.prefix) == (grid, 0)
        assert tokens.x.shape == (2, grid[0] * grid[1], SMALL[i][1])


def test_pooled_keys_are_49_for_every_size_of_picture():
    with torch.device("meta"):
        model: Any = pvt_v2("b2_li")().eval()
        tokens = model.tokenize(Batch("image", torch.zeros(1, 3, 288, 416)))
    assert model.transformer.stages[0].blocks[0].mixer.reduce(tokens).x.shape == (1, 49, 64)


def test_no_parameter_belongs_to_a_place():
    for size in ("b1", "b2_li"):
        with torch.device("meta"):
            shapes = [{n: p.shape for n, p in pvt_v2(size, image=i)().named_parameters()} for i in (224, 512)]
        assert shapes[0] == shapes[1]


@pytest.mark.parametrize("stages", [SMALL, POOLED])
def test_mixed_sizes_in_one_batch_give_what_each_gives_alone(stages):
    model: Any = pvt_v2(stages=stages, classes=5)().double().eval()
    pictures = tuple(torch.randn(3, *sizes).double() for sizes in ((64, 64), (75, 53), (64, 64)))
    with torch.inference_mode():
        mixed = model.embed(Batch("image", pictures))
        alone = torch.cat([model.embed(Batch("image", picture[None])) for picture in pictures])
    torch.testing.assert_close(mixed, alone)


def test_stochastic_depth_grows_over_all_blocks():
    with torch.device("meta"):
        model: Any = pvt_v2("b1", drop_path=0.7)()
    rates = [block.drop_path for stage in model.transformer.stages for block in stage.blocks]
    assert rates == pytest.approx([0.1 * i for i in range(8)])


@pytest.mark.parametrize("size", ["b0", "b2_li"])
def test_the_part_goes_through_json(size):
    part = pvt_v2(size, classes=10, drop_path=0.1)
    assert Part.from_json(part.to_json()) == part


def test_unknown_sizes_and_pictures_off_the_lattice_are_refused():
    with pytest.raises(ValueError, match="size must be one of b0, b1, b2, b2_li, b3, b4, b5, not 'b6'"):
        pvt_v2("b6")
    with pytest.raises(ValueError, match="image must be a multiple of 4 px, not 90"):
        pvt_v2(image=90)
