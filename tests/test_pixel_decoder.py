"""Pixel decoder: its equations in loops, odd lattices, what reaches what, and refusals."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from unimodal.block import Block
from unimodal.level_waves import level_waves
from unimodal.mixers.deformable import Deformable
from unimodal.mixers.located_queries import LocatedQueries
from unimodal.part import Part
from unimodal.pixel_decoder import PixelDecoder
from unimodal.side import Side
from unimodal.tokens import Tokens

WIDTHS, GRIDS = (4, 6, 8), ((7, 9), (4, 5), (2, 3))
BLOCK = Part(
    Block, mixer=Part(LocatedQueries, mixer=Part(Deformable, heads=2, levels=2, points=2)), ffn=None, layout="post"
)


def decoder(**options: Any) -> Any:
    settings = {"block": BLOCK, "depth": 2, "levels": 2, "width": 8, "fine_width": 5, "groups": 2, **options}
    made = PixelDecoder(WIDTHS, **settings).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return made


def features(rows: int = 2) -> list[Tokens]:
    made = []
    for width, grid in zip(WIDTHS, GRIDS, strict=True):
        made.append(Tokens(torch.randn(rows, grid[0] * grid[1], width, dtype=torch.float64), Side(grid=grid)))
    return made


def normed(x_BND: Tensor, norm: Any) -> Tensor:
    out = torch.empty_like(x_BND)
    for b in range(len(x_BND)):
        for g in range(2):
            group = x_BND[b, :, 4 * g : 4 * g + 4]
            out[b, :, 4 * g : 4 * g + 4] = (group - group.mean()) / (group.var(correction=0) + 1e-5).sqrt()
    return out * norm.weight + norm.bias


def test_levels_and_fine_features_are_the_equations():
    made, given = decoder(), features()
    levels = GRIDS[:0:-1]
    x, at = [], []
    for i, grid in enumerate(levels):
        map_of, norm = made.project[i].parts
        x.append(normed(given[2 - i].x @ map_of.project.weight.T + map_of.project.bias, norm))
        at.append(level_waves((grid,), 8).double() + made.level[i])
    x = torch.cat(x, 1)
    for block in made.core.blocks:
        deformable = block.mixer.mixer
        y = deformable(x + torch.cat(at), Side(levels=levels, memory=Tokens(x, Side(levels=levels))))
        x = F.layer_norm(x + y, (8,), block.norm_mixer.weight, block.norm_mixer.bias, 1e-6)
    fine, found = made(given)
    torch.testing.assert_close(torch.cat([level.x for level in found], 1), x, rtol=0, atol=1e-10)
    assert [level.side.grid for level in found] == list(levels)
    up = F.interpolate(x[:, 6:].mT.unflatten(-1, (4, 5)), size=(7, 9), mode="bilinear").flatten(2).mT
    lateral, norm = made.lateral[0].parts
    z = normed(given[0].x @ lateral.project.weight.T, norm) + up
    convolution, norm, _ = made.smooth[0].parts
    z = F.conv2d(z.mT.unflatten(-1, (7, 9)), convolution.weight, padding=1).flatten(2).mT
    expected = normed(z, norm).relu() @ made.to_fine.weight.T + made.to_fine.bias
    torch.testing.assert_close(fine.x, expected, rtol=0, atol=1e-10)
    assert fine.side.grid == (7, 9)


def test_the_finest_features_reach_no_level_and_other_pictures_nothing():
    made, given, other = decoder(), features(), features()
    before, after = made(given), made([other[0], *given[1:]])
    assert all(torch.equal(a.x, b.x) for a, b in zip(before[1], after[1], strict=True))
    assert not torch.equal(before[0].x, after[0].x)
    mixed = [Tokens(torch.cat([a.x[:1], b.x[1:]]), a.side) for a, b in zip(given, other, strict=True)]
    assert torch.equal(made(mixed)[0].x[0], before[0].x[0])


def test_every_parameter_gets_a_gradient():
    made = decoder()
    fine, levels = made(features())
    (fine.x.square().sum() + sum(level.x.square().sum() for level in levels)).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in made.parameters())


def test_all_levels_may_pass_the_blocks_and_none_be_added():
    fine, levels = decoder(levels=3, block=Part(Block, mixer=Part(Deformable, heads=2, levels=3), ffn=None))(features())
    assert len(levels) == 3
    assert fine.side.grid == levels[-1].side.grid == (7, 9)


@pytest.mark.parametrize(
    "options, said",
    [({"levels": 4}, r"levels must be among 1\.\.3, not 4"), ({"groups": 3}, "groups"), ({"levels": 0}, "not 0")],
)
def test_settings_that_do_not_fit_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        decoder(**options)


@pytest.mark.parametrize(
    "side, said",
    [(Side(), "a lattice of two axes"), (Side(grid=(63,)), "a lattice of two axes"), (Side(causal=True), "causal")],
)
def test_features_that_are_no_maps_are_refused(side, said):
    given = features()
    with pytest.raises(ValueError, match=said):
        decoder()([Tokens(given[0].x, side), *given[1:]])
    with pytest.raises(ValueError, match="features of widths"):
        decoder()(given[1:])
    with pytest.raises(ValueError, match="multiple of 4 channels, not 6"):
        decoder(width=6)(given)
