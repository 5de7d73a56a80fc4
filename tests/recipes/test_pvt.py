"""PVT: published counts and costs, the last stage's class token, positions at every size, stochastic depth."""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from unimodal.part import Part
from unimodal.recipes.pvt import pvt
from unimodal.sample import Batch

SMALL = {
    "depths": (1, 1, 1, 1),
    "stages": ((8, 1, 2.0, 8, 4), (12, 2, 2.0, 4, 2), (20, 5, 2.0, 2, 2), (16, 4, 2.0, 1, 2)),
}
# Parameters with a classifier of 1000 as published (ours fold the class token's position, 512), 1e9 multiply-adds.
PUBLISHED = [
    ("tiny", 13_229_288, 1.9),
    ("small", 24_485_864, 3.8),
    ("medium", 44_208_104, 6.7),
    ("large", 61_369_320, 9.8),
]


@pytest.mark.parametrize("size, parameters, billions", PUBLISHED)
def test_sizes_have_the_published_parameters_and_multiply_adds(size, parameters, billions):
    with torch.device("meta"):
        model: Any = pvt(size, classes=1000)().eval()
        pixels = torch.zeros(1, 3, 224, 224)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.embed(Batch("image", pixels))
    assert sum(p.numel() for p in model.parameters()) == parameters - 512
    assert counter.get_total_flops() / 2e9 == pytest.approx(billions, rel=0.02)


@pytest.mark.parametrize("sizes", [(224, 224), (320, 256), (97, 131), (32, 32)])
def test_pictures_of_any_size_have_features_of_four_strides_and_the_last_a_class_token(sizes):
    model: Any = pvt(**SMALL, classes=5)().eval()
    assert model.transformer.strides == (1, 1, 2, 4, 8)
    batch = Batch("image", torch.randn(2, 3, *sizes))
    with torch.inference_mode():
        features = model.features(batch, [1, 2, 3, 4])
        logits = model.embed(batch)
        read = model.readout.project(features[3].x[:, 0])
    for i, tokens in enumerate(features):
        grid = tuple(n // 4 // 2**i for n in sizes)
        assert (tokens.side.grid, tokens.side.prefix) == (grid, int(i == 3))
        assert tokens.lattice().x.shape == (2, grid[0] * grid[1], (8, 12, 20, 16)[i])
    assert torch.equal(logits, read)


def test_each_stage_has_a_table_of_its_own_that_is_used_as_it_is_at_its_size():
    model: Any = pvt(**SMALL, image=64)().eval()
    tables = [stage.position for stage in model.transformer.stages]
    assert [table.grid for table in tables] == [(16, 16), (8, 8), (4, 4), (2, 2)]
    batch = Batch("image", torch.randn(1, 3, 64, 64))
    with torch.inference_mode():
        before = model.embed(batch)
        for table in tables:
            assert table.on(table.grid) is table.table
            table.table += 1.0 * torch.randn_like(table.table)
            after = model.embed(batch)
            assert not torch.equal(after, before)
            before = after


def test_mixed_sizes_in_one_batch_give_what_each_gives_alone():
    model: Any = pvt(**SMALL, image=64, classes=5)().double().eval()
    pictures = tuple(torch.randn(3, *sizes).double() for sizes in ((64, 64), (96, 64), (64, 64)))
    with torch.inference_mode():
        mixed = model.embed(Batch("image", pictures))
        alone = torch.cat([model.embed(Batch("image", picture[None])) for picture in pictures])
    torch.testing.assert_close(mixed, alone)


def test_stochastic_depth_grows_over_all_blocks():
    model: Any = pvt(drop_path=0.7, classes=5)()
    rates = [block.drop_path for stage in model.transformer.stages for block in stage.core.blocks]
    assert rates == pytest.approx([0.1 * i for i in range(8)])


@pytest.mark.parametrize("size", ["tiny", "large"])
def test_the_part_goes_through_json(size):
    part = pvt(size, classes=10, drop_path=0.1)
    assert Part.from_json(part.to_json()) == part


def test_unknown_sizes_and_pictures_that_no_patches_fit_are_refused():
    with pytest.raises(ValueError, match="size must be one of tiny, small, medium, large, not 'huge'"):
        pvt("huge")
    with pytest.raises(ValueError, match="image must be a multiple of the patches' product, not 100 px"):
        pvt(image=100)
    with pytest.raises(ValueError, match=r"4 stages need as many depths, not \(1, 2\)"):
        pvt(depths=(1, 2))
