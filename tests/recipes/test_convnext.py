"""ConvNeXt: published counts and costs, timm's blocks, what layer scale does, features of every size of picture."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from unimodal.ffns.plain import Plain
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.readouts.mean import Mean
from unimodal.recipes.convnext import convnext
from unimodal.sample import Batch

# Parameters with a classifier of 1000 (timm's), multiply-adds at 224 px in 1e9 (the paper's table 1, timm's for nano).
PUBLISHED = [
    ("atto", 3_695_520, 0.55),
    ("femto", 5_217_784, 0.78),
    ("pico", 9_045_672, 1.37),
    ("nano", 15_593_560, 2.45),
    ("tiny", 28_589_128, 4.5),
    ("small", 50_223_688, 8.7),
    ("base", 88_591_464, 15.4),
    ("large", 197_767_336, 34.4),
    ("xlarge", 350_196_968, 60.9),
]


def small(**options: Any) -> Any:
    options = {"depths": (1, 1, 2, 1), "widths": (8, 12, 16, 24), "classes": 5, **options}
    return convnext(**options)().eval()


def pictures(*sizes: int) -> Batch:
    return Batch("image", torch.randn(2, 3, *sizes))


@pytest.mark.parametrize("size, parameters, _", PUBLISHED)
def test_sizes_have_the_published_parameter_counts(size, parameters, _):
    with torch.device("meta"):
        model: Any = convnext(size, classes=1000)()
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize("size, billions", [(row[0], row[2]) for row in PUBLISHED if row[0] in ("atto", "tiny")])
def test_a_picture_of_224_px_costs_the_published_multiply_adds(size, billions):
    with FlopCounterMode(display=False) as counter, torch.device("meta"), torch.no_grad():
        model: Any = convnext(size, classes=1000)().eval()
        model.embed(Batch("image", torch.zeros(1, 3, 224, 224)))
    assert counter.get_total_flops() / 2e9 == pytest.approx(billions, abs=0.05)


def test_a_layer_scale_of_zero_makes_every_block_the_identity():
    model, batch = small(layer_scale=0.0), pictures(64, 64)
    core = model.transformer
    tokens = model.tokenize(batch)
    for stage, between in zip(core.stages, (*core.between, None), strict=True):
        assert torch.equal(stage(tokens).x, tokens.x)
        tokens = tokens if between is None else between(tokens)


def test_a_layer_scale_of_a_millionth_leaves_every_block_near_the_identity():
    model, batch = small(), pictures(64, 64)
    tokens = model.tokenize(batch)
    [made] = model.transformer.features(tokens, [1])
    change = (made.x - tokens.x).abs().max()
    assert 0 < change < 1e-5


def test_while_training_rates_of_skipping_grow_over_all_blocks():
    stages = small(drop_path=0.4).transformer.stages
    rates = [block.drop_path for stage in stages for block in stage.blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("sizes", [(64, 64), (97, 130), (33, 71)])
def test_features_of_any_picture_have_the_strides_4_8_16_32(sizes):
    features = small().features(pictures(*sizes), [1, 2, 3, 4])
    for tokens, stride, width in zip(features, (4, 8, 16, 32), (8, 12, 16, 24), strict=True):
        assert tokens.side.grid == tuple(n // stride for n in sizes)
        assert tokens.x.shape == (2, tokens.side.grid[0] * tokens.side.grid[1], width)


def test_a_batch_of_mixed_sizes_gives_each_picture_what_it_gets_alone():
    model = small(layer_scale=0.5)
    sizes = ((64, 64), (49, 70), (64, 64))
    data = [torch.randn(3, *size) for size in sizes]
    model.tokenizers["image"].fit = "native"
    mixed = model.embed(Batch("image", tuple(data)))
    alone = torch.cat([model.embed(Batch("image", picture[None])) for picture in data])
    torch.testing.assert_close(mixed, alone, rtol=0, atol=1e-6)


def test_norms_are_over_channels_so_they_commute_with_moving_cells_and_with_the_order_of_axes():
    norm, x = LayerNorm(8).double(), torch.randn(2, 30, 8, dtype=torch.float64)
    torch.nn.init.normal_(norm.weight)
    order = torch.randperm(30)
    assert torch.equal(norm(x)[:, order], norm(x[:, order]))
    map_BDYX = x.mT.unflatten(-1, (5, 6))
    centred = map_BDYX - map_BDYX.mean(1, keepdim=True)
    first = centred / (centred.square().mean(1, keepdim=True) + norm.eps).sqrt() * norm.weight[:, None, None]
    torch.testing.assert_close(norm(x), first.flatten(2).mT)
    torch.testing.assert_close(norm(x), F.layer_norm(x, (8,), norm.weight, norm.bias, norm.eps))


def test_gradients_reach_every_parameter():
    model = small(layer_scale=0.1).train()
    model.embed(pictures(64, 64)).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())


def test_without_classes_it_gives_the_normed_mean():
    model, batch = small(classes=None), pictures(64, 64)
    torch.testing.assert_close(model.embed(batch), model.readout.norm(model(batch).x.mean(1)))


def test_it_round_trips():
    part = convnext("atto", classes=10, drop_path=0.1, ffn=Part(Plain, activation="silu"))
    assert Part.from_json(part.to_json()) == part


@pytest.mark.parametrize(
    "options, cause",
    [
        ({"size": "huge"}, "size must be one of atto, .*not 'huge'"),
        ({"image": 30}, "image must be a multiple of patch 4 px, not 30"),
        ({"depths": (1, 2)}, "must be of as many stages"),
        ({"classes": 3, "readout": Part(Mean)}, "classes=3 belong to the classifier"),
    ],
)
def test_what_does_not_fit_is_refused(options, cause):
    with pytest.raises(ValueError, match=cause):
        convnext(**options)
