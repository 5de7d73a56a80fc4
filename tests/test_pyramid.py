"""The pyramid: stages in a row, features with their strides for any size and layout, and as the core of a model."""

from typing import Any

import pytest
import torch

from unimodal.block import Block
from unimodal.catalog import catalog
from unimodal.chain import Chain
from unimodal.downsampling import Downsampling
from unimodal.ffns.linear import Linear
from unimodal.ffns.plain import Plain
from unimodal.mixers.depthwise import Depthwise
from unimodal.mixers.full import Full
from unimodal.model import Model
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.pyramid import Pyramid
from unimodal.readouts.mean import Mean
from unimodal.residual import Residual
from unimodal.sample import Batch
from unimodal.side import Side
from unimodal.stems.halving_convolution import HalvingConvolutionStem
from unimodal.tokens import Tokens
from unimodal.transformer import Transformer

CONVOLVED = Part(Residual, branch=(Part(Depthwise), Part(LayerNorm), Part(Plain)))
ATTENDED = Part(Block, mixer=Part(Full, heads=2), ffn=Part(Plain))
PYRAMID = Part(
    Pyramid,
    stages=(
        Part(Transformer, depth=2, blocks=CONVOLVED),
        Part(Transformer, depth=1, blocks=CONVOLVED),
        Part(Transformer, depth=1, blocks=ATTENDED, norm=Part(LayerNorm)),
    ),
    between=(Part(Downsampling, width=6), Part(Downsampling, width=8, kernel=4, stride=4, padding=0)),
)


def built(dim: int = 4) -> Any:
    torch.manual_seed(0)
    return PYRAMID(dim).double().eval()


def test_stages_and_what_lies_between_follow_one_another():
    pyramid, tokens = built(), Tokens(torch.randn(2, 72, 4, dtype=torch.float64), Side(grid=(8, 9)))
    first = pyramid.stages[0](tokens)
    second = pyramid.stages[1](pyramid.between[0](first))
    third = pyramid.stages[2](pyramid.between[1](second))
    for ours, expected in zip(pyramid.features(tokens, [0, 1, 2, 3]), (tokens, first, second, third), strict=True):
        assert torch.equal(ours.x, expected.x)
    assert torch.equal(pyramid(tokens).x, third.x)


def test_it_says_the_width_and_the_stride_of_each_feature():
    pyramid = built()
    assert (pyramid.widths, pyramid.strides, pyramid.width) == ((4, 4, 6, 8), (1, 1, 2, 8), 8)


@pytest.mark.parametrize("grid", [(8, 8), (7, 13), (9, 31), (16, 7)])
def test_features_of_odd_and_rectangular_sizes_have_their_own_lattices(grid):
    pyramid = built()
    tokens = Tokens(torch.randn(1, grid[0] * grid[1], 4, dtype=torch.float64), Side(grid=grid))
    halved = tuple(-(-n // 2) for n in grid)
    lattices = [grid, halved, tuple(n // 4 for n in halved)]
    for feature, lattice, width in zip(pyramid.features(tokens, [1, 2, 3]), lattices, (4, 6, 8), strict=True):
        assert feature.side.grid == lattice
        assert feature.x.shape == (1, lattice[0] * lattice[1], width)


def test_a_packed_batch_of_different_sizes_gives_what_each_gives_alone():
    pyramid, grids = built(), ((8, 9), (7, 16), (8, 8))
    rows = [torch.randn(1, a * b, 4, dtype=torch.float64) for a, b in grids]
    ends = torch.tensor([0, *(sum(r.shape[1] for r in rows[: i + 1]) for i in range(3))], dtype=torch.int32)
    packed = Tokens(torch.cat(rows, 1), Side(grids=grids, cu_seqlens=ends))
    for tokens in (packed, packed.padded()):
        for several, row, grid in zip(pyramid(tokens).split(), rows, grids, strict=True):
            torch.testing.assert_close(several, pyramid(Tokens(row, Side(grid=grid))).x[0])


def test_it_is_the_core_of_a_model_whose_width_is_the_last_stages():
    stem = Part(HalvingConvolutionStem)
    tokenizers = {"image": Part(catalog("tokenizers")["image"], stem=stem, size=None, fit="native")}
    part = Part(Model, dim=4, tokenizers=tokenizers, transformer=PYRAMID, readout=Part(Mean))
    assert Part.from_json(part.to_json()) == part
    model = part().eval()
    batch = Batch("image", torch.randn(2, 3, 37, 64))
    assert model.dim == 8
    assert model.embed(batch).shape == (2, 8)
    assert [f.side.grid for f in model.features(batch, [1, 2, 3])] == [(10, 16), (5, 8), (1, 2)]


def test_a_pyramid_of_one_stage_is_that_stage():
    torch.manual_seed(0)
    stage = Part(Transformer, depth=1, blocks=ATTENDED)
    pyramid, tokens = Pyramid(4, stages=(stage,)), Tokens(torch.randn(1, 6, 4))
    assert torch.equal(pyramid(tokens).x, pyramid.stages[0](tokens).x)


@pytest.mark.parametrize("stages, between", [((), ()), ((ATTENDED,) * 2, ()), ((ATTENDED,), PYRAMID.kwargs["between"])])
def test_stages_without_one_part_fewer_between_them_are_refused(stages, between):
    with pytest.raises(ValueError, match=f"{len(stages)} stages need"):
        Pyramid(4, stages=stages, between=between)


@pytest.mark.parametrize("depths", [[4], [-1], [2, 1]])
def test_depths_that_do_not_exist_are_refused(depths):
    with pytest.raises(ValueError, match=r"depths must ascend within 0\.\.3"):
        built().features(Tokens(torch.randn(1, 4, 4, dtype=torch.float64), Side(grid=(2, 2))), depths)


def test_strides_of_clips_are_one_number_an_axis():
    stage = Part(Transformer, depth=1, blocks=ATTENDED)
    between = Part(Downsampling, width=4, kernel=(1, 2, 2), stride=(1, 2, 2), padding=0)
    pyramid: Any = Pyramid(4, stages=(stage,) * 3, between=(between,) * 2)
    assert pyramid.strides == (1, 1, (1, 2, 2), (1, 4, 4))
    features = pyramid.features(Tokens(torch.randn(1, 3 * 8 * 8, 4), Side(grid=(3, 8, 8))), [1, 2, 3])
    assert [f.side.grid for f in features] == [(3, 8, 8), (3, 4, 4), (3, 2, 2)]


def test_a_stage_that_changes_the_width_says_so():
    wider = Part(Transformer, depth=1, blocks=Part(Chain, parts=(Part(Linear, width=6),)))
    between = Part(Downsampling, width=8, kernel=1, stride=1)
    pyramid: Any = Pyramid(4, stages=(wider, wider), between=(between,))
    assert (pyramid.widths, pyramid.width) == ((4, 6, 6), 6)
    assert pyramid.between[0].convolution.weight.shape[:2] == (8, 6)
    assert pyramid(Tokens(torch.randn(1, 4, 4), Side(grid=(2, 2)))).x.shape == (1, 4, 6)
