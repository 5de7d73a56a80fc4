"""Swin: published counts and costs, torchvision's network, features of any size, rates, what it refuses."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from unimodal.mixers.shifted_windows import ShiftedWindows
from unimodal.part import Part
from unimodal.recipes.swin import swin
from unimodal.sample import Batch

# Width of windows, side of pictures, parameters with a classifier of 1000 (timm's), 1e9 multiply-adds (table 1).
PUBLISHED = [
    ("tiny", 7, 224, 28_288_354, 4.5),
    ("small", 7, 224, 49_606_258, 8.7),
    ("base", 7, 224, 87_768_224, 15.4),
    ("base", 12, 384, 87_903_584, 47.0),
    ("large", 7, 224, 196_532_476, 34.5),
    ("large", 12, 384, 196_735_516, 103.9),
]


def on_meta(size: str, **options):
    with torch.device("meta"):
        return swin(size, classes=1000, **options)().eval()


@pytest.mark.parametrize("size, window, image, count, _", PUBLISHED)
def test_sizes_have_the_published_parameter_counts(size, window, image, count, _):
    assert sum(p.numel() for p in on_meta(size, window=window, image=image).parameters()) == count


@pytest.mark.parametrize("size, window, image, _, billions", PUBLISHED[:1] + PUBLISHED[3:4])
def test_a_picture_costs_the_published_multiply_adds(size, window, image, _, billions):
    model = on_meta(size, window=window)
    batch = Batch("image", torch.zeros(1, 3, image, image, device="meta"))
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        model.embed(batch)
    assert counter.get_total_flops() / 2e9 == pytest.approx(billions, rel=0.01)


def small(**options):
    torch.manual_seed(0)
    model = swin(width=8, heads=(1, 2, 2, 4), window=4, **{"depths": (2, 2, 2, 2), **options})().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.mark.parametrize("rows, columns", [(224, 224), (100, 332)])
def test_features_of_every_stage_have_their_strides_and_widths(rows, columns):
    model = small()
    features = model.features(Batch("image", torch.randn(2, 3, rows, columns)), [1, 2, 3, 4])
    assert model.transformer.strides[1:] == (1, 2, 4, 8)
    for feature, width, stride in zip(features, (8, 16, 32, 64), (4, 8, 16, 32), strict=True):
        assert feature.side.grid == (-(-rows // stride), -(-columns // stride))
        assert feature.x.shape == (2, feature.side.grid[0] * feature.side.grid[1], width)


def test_pictures_of_mixed_sizes_give_the_vectors_that_each_gives_alone():
    model, pictures = small(classes=5), (torch.randn(3, 68, 100), torch.randn(3, 128, 96))
    with torch.inference_mode():
        together = model.embed(Batch("image", pictures))
        for picture, vector in zip(pictures, together, strict=True):
            torch.testing.assert_close(model.embed(Batch("image", picture[None]))[0], vector)


@pytest.mark.parity
@pytest.mark.parametrize("rows, columns", [(224, 224), (160, 344), (132, 100)])
def test_it_is_torchvisions_network(rows, columns):
    models = pytest.importorskip("torchvision.models.swin_transformer")
    depths, heads, windows = (2, 2, 2, 2), (1, 2, 2, 4), (Part(ShiftedWindows, window=4, shift=2, unshifted="axis"),)
    peer = models.SwinTransformer([4, 4], 8, list(depths), list(heads), [4, 4], num_classes=5).eval()
    for parameter in peer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    model, state = small(classes=5, windows=windows * 4), peer.state_dict()
    pairs = [("tokenizers.image.stem.project", "features.0.0"), ("norm", "features.0.2")]
    pairs += [("readout.chain.parts.0", "norm"), ("readout.readout.project", "head")]
    renamed = {}
    for i, depth in enumerate(depths):
        pairs += [(f"transformer.between.{i}", f"features.{2 * i + 2}")] if i < 3 else []
        for j in range(depth):
            ours, theirs = f"transformer.stages.{i}.blocks.{j}", f"features.{2 * i + 1}.{j}"
            pairs += [(f"{ours}.norm_mixer", f"{theirs}.norm1"), (f"{ours}.norm_ffn", f"{theirs}.norm2")]
            pairs += [
                (f"{ours}.mixer.mixer.to_{a}", f"{theirs}.attn.{b}") for a, b in (("qkv", "qkv"), ("out", "proj"))
            ]
            pairs += [(f"{ours}.ffn.to_{a}", f"{theirs}.mlp.{b}") for a, b in (("hidden", 0), ("out", 3))]
            renamed[f"{ours}.mixer.mixer.attention.table"] = state[f"{theirs}.attn.relative_position_bias_table"]
    for ours, theirs in pairs:
        renamed |= {ours + n.removeprefix(theirs): t for n, t in state.items() if n.startswith(theirs + ".")}
    model.load_state_dict(renamed)
    pixels = torch.randn(2, 3, rows, columns)
    with torch.inference_mode():
        theirs = peer(pixels)
        torch.testing.assert_close(
            model.embed(Batch("image", pixels)), theirs, rtol=0, atol=1e-5 * theirs.abs().max().item()
        )


def test_every_second_block_is_shifted_and_rates_grow_over_all_blocks():
    model = small(drop_path=0.7)
    blocks = [block for stage in model.transformer.stages for block in stage.blocks]
    assert [block.mixer.shift for block in blocks] == [(0, 0), (2, 2)] * 4
    assert [block.drop_path for block in blocks] == pytest.approx([0.1 * i for i in range(8)])


def test_the_part_survives_json():
    part = swin("base", window=12, image=384, classes=10, drop_path=0.2)
    assert Part.from_json(part.to_json()) == part


def test_what_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="size must be one of tiny, small, base, large"):
        swin("huge")
    with pytest.raises(ValueError, match="of as many stages"):
        swin(heads=(3, 6))
