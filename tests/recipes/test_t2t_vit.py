"""T2T-ViT sizes against the released code's counts, and pictures of any lattice."""

from typing import Any

import pytest
import torch

from unimodal.attention.softmax import SoftmaxAttention
from unimodal.multiply_adds import multiply_adds
from unimodal.part import Part
from unimodal.recipes.t2t_vit import t2t_vit
from unimodal.sample import Batch

# The released code's parameters with a classifier of 1000, fixed tables and fixed rows included; multiply-adds, 1e9.
RELEASED = [
    ("7", 4_310_222, 1.147),
    ("10", 5_889_230, 1.516),
    ("12", 6_941_902, 1.763),
    ("14", 21_545_550, 4.783),
    ("19", 39_177_422, 8.480),
    ("24", 64_105_934, 13.662),
    ("t-14", 21_541_070, 6.089),
    ("t-19", 39_172_942, 9.785),
    ("t-24", 64_101_454, 14.967),
    ("14-wide", 25_156_302, 5.229),
]


def on_meta(size: str) -> Any:
    with torch.device("meta"):
        return t2t_vit(size, classes=1000)().eval()


@pytest.mark.parametrize("size, count, _", RELEASED)
def test_sizes_have_the_released_parameter_counts(size, count, _):
    model = on_meta(size)
    fixed_waves, fixed_rows = 197 * model.dim, 0 if size.startswith("t-") else 2 * 32 * 64
    rows = sum(b.numel() for name, b in model.named_buffers() if name.endswith("rows"))
    assert rows == fixed_rows
    assert sum(p.numel() for p in model.parameters()) + fixed_waves + fixed_rows == count


@pytest.mark.parametrize("size, _, billions", [RELEASED[i] for i in (0, 3, 6)])
def test_a_picture_of_224_px_costs_the_released_multiply_adds(size, _, billions):
    model = on_meta(size)
    counted = multiply_adds(model.embed, Batch("image", torch.zeros(1, 3, 224, 224, device="meta")))
    assert counted / 1e9 == pytest.approx(billions, rel=0.005)


def test_the_blocks_have_no_bias_on_queries_and_the_papers_ratios():
    model = on_meta("14")
    block = model.transformer.blocks[0]
    assert len(model.transformer.blocks) == 14
    assert block.mixer.to_qkv.bias is None
    assert block.ffn.to_hidden.out_features == 3 * 384
    assert on_meta("7").transformer.blocks[0].ffn.to_hidden.out_features == 2 * 256


def test_the_released_weights_scale_is_that_of_the_blocks():
    block = t2t_vit("7", scale=256**-0.5).kwargs["transformer"].kwargs["blocks"]
    assert block.kwargs["mixer"].kwargs["attention"] == Part(SoftmaxAttention, scale=0.0625)


def test_pictures_of_any_lattice_of_squares_are_read():
    model = t2t_vit("7", image=64)().eval()
    with torch.inference_mode():
        for rows, columns in ((64, 64), (48, 80), (128, 16)):
            batch = Batch("image", torch.randn(2, 3, rows, columns))
            tokens = model(batch)
            assert tokens.side.grid == (rows // 16, columns // 16)
            assert model.embed(batch).shape == (2, 256)


def test_it_is_a_part_that_round_trips():
    for part in (t2t_vit("7", drop_path=0.1), t2t_vit("t-14", classes=3)):
        assert Part.from_json(part.to_json()) == part


@pytest.mark.parametrize("size", ["13", "t-", "T-14"])
def test_an_unknown_size_is_refused(size):
    with pytest.raises(ValueError, match="size must be one of 7, 10"):
        t2t_vit(size)


def test_an_image_that_squares_do_not_fill_is_refused():
    with pytest.raises(ValueError, match="multiple of 16 px, not 230"):
        t2t_vit("7", image=230)
