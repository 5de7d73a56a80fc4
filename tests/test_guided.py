"""Guided: cells by hand, what is shared and what is not, and what it is without its guidance."""

import json
import math
from typing import Any

import pytest
import torch

from unimodal.ffns.bottlenecked import Bottlenecked
from unimodal.guided import Guided
from unimodal.part import Part
from unimodal.positions.coordinate_mlp import CoordinateMLP
from unimodal.positions.virtual_projection import VirtualProjection
from unimodal.recipes.pre_norm import pre_norm
from unimodal.side import Side
from unimodal.tokens import Tokens

CORE = pre_norm(depth=3, heads=2, hidden=16)
SETTINGS = {"core": CORE, "position": Part(VirtualProjection, grid=(4, 5)), "prefix": 1, "voxel": 0.7}


def guided(**settings):
    return Guided(12, **{**SETTINGS, **settings}).double().eval()


def tokens(rows=2, count=9, **side):
    x, place = torch.randn(rows, 1 + count, 12).double(), torch.randn(rows, 1 + count, 3).double()
    return Tokens(x, Side(positions=place, prefix=1, **side))


def test_behind_every_block_tokens_meet_those_of_their_cells_and_the_class_token_none():
    part, given = guided(), tokens()
    space, views = part.cells(given)
    place = part.source.offset(given)
    x, seen = given.x, [given.x]
    for block, aggregation in zip(part.source.core.blocks, part.aggregations, strict=True):
        x = block(x + place, given.side)
        x = torch.cat([x[:, :1], aggregation(x[:, 1:], space, views, part.attend)], 1)
        seen.append(x)
    torch.testing.assert_close(part(given).x, part.source.core.norm(x))
    for depth, features in enumerate(part.features(given, [0, 1, 2])):
        torch.testing.assert_close(features.x, seen[depth])


def test_cells_are_cubes_from_the_corner_of_the_cloud_and_cells_of_each_view():
    part, given = guided(cell=2.0), tokens()
    assert given.side.positions is not None
    space, views = part.cells(given)
    points = given.side.positions[:, 1:]
    for b in range(2):
        corner = points[b].min(0).values
        cubes = [tuple(math.floor(float(v) / 0.7) for v in p - corner) for p in points[b]]
        assert space.mask[b, 0].tolist() == [[one == other for one in cubes] for other in cubes]
    real = torch.ones(2, 9, dtype=torch.bool)
    number = part.source.position.cells(points, real, size=2.0)
    for m, view in enumerate(views):
        assert torch.equal(view.mask[:, 0], number[:, m, :, None] == number[:, m, None])
    assert len(views) == 6


def test_attention_within_cells_is_attention_over_each_cells_tokens_alone():
    part, given = guided(), tokens()
    _, views = part.cells(given)
    x = given.x[:, 1:]
    for attend, cells in zip(part.attend, views, strict=True):
        masked = attend(x, cells.mask)
        for b in range(2):
            for n in range(9):
                together = cells.mask[b, 0, n].nonzero()[:, 0]
                alone = attend(x[b : b + 1, together], torch.ones(1, 1, 1, 1, dtype=torch.bool))
                torch.testing.assert_close(masked[b, n], alone[0, together.tolist().index(n)])


def test_logits_are_divided_by_the_root_of_the_whole_width():
    attention: Any = guided(heads=2, width=6).attend[0]
    x = torch.randn(1, 4, 12).double()
    q, k, v = attention.mixer.to_qkv(attention.norm(x)).chunk(3, -1)
    out = []
    for head in (slice(0, 3), slice(3, 6)):
        weights = (q[..., head] @ k[..., head].mT / 6**0.5).softmax(-1)
        out.append(weights @ v[..., head])
    everything = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    torch.testing.assert_close(attention(x, everything), attention.mixer.to_out(torch.cat(out, -1)))


def test_at_share_zero_it_is_the_repositioned_core():
    part, given = guided(share=0.0), tokens()
    assert torch.equal(part(given).x, part.source(given).x)


def test_a_far_token_has_influence_through_the_core_alone():
    """With a core that mixes nothing, a token far from all others in space and in all views changes none of them."""
    part = guided(position=Part(VirtualProjection, grid=(64, 64)), cell=1.0, voxel=0.05)
    for block in part.source.core.blocks:
        torch.nn.init.zeros_(block.mixer.to_out.weight)
    given = tokens()
    before, x = part(given).x, given.x.clone()
    x[:, 4] += 1.0
    after = part(given.replace(x)).x
    space, views = part.cells(given)
    near = torch.stack([cells.mask[:, 0] for cells in (space, *views)]).any(0)[:, 3]
    assert torch.equal(after[:, 1:][~near], before[:, 1:][~near])
    assert not torch.equal(after[:, 4], before[:, 4])
    assert (~near).sum() > 4


def test_packed_equals_padded_equals_alone():
    part = guided()
    given = tokens(rows=3, lengths=torch.tensor([10, 4, 7]))
    place = given.side.positions
    assert place is not None
    padded, packed = part(given), part(given.packed())
    for b, (row, other) in enumerate(zip(padded.split(), packed.split(), strict=True)):
        count = len(row)
        alone = part(Tokens(given.x[b : b + 1, :count], Side(positions=place[b : b + 1, :count], prefix=1)))
        torch.testing.assert_close(row, alone.x[0])
        torch.testing.assert_close(other, row)


def test_padding_has_no_influence():
    part, given = guided(), tokens(lengths=torch.tensor([10, 6]))
    x = given.x.clone()
    x[1, 6:] = 50.0
    assert torch.equal(part(given.replace(x)).split()[1], part(given).split()[1])


def test_a_lattice_is_a_cloud_too():
    x = torch.randn(2, 7, 12).double()
    assert guided()(Tokens(x, Side(grid=(2, 3), prefix=1))).x.isfinite().all()


def test_attention_is_one_module_a_view_and_norms_are_one_a_block():
    part = guided()
    names = [name for name, _ in part.named_parameters()]
    assert len([name for name in names if name.startswith("attend.")]) == 6 * 6
    assert len([name for name in names if name.startswith("aggregations.")]) == 3 * 7 * 2


def test_gradients_reach_every_parameter():
    part = Guided(12, **SETTINGS).double()
    part(tokens(rows=4)).x.square().sum().backward()
    for name, parameter in part.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_blocks_with_bottlenecks_are_blocks():
    block = CORE.kwargs["blocks"]
    core = CORE.replace(blocks=block.replace(ffn=Part(Bottlenecked, ffn=block.kwargs["ffn"])))
    assert guided(core=core)(tokens()).x.isfinite().all()


def test_it_comes_back_from_json():
    part = Part(Guided, **SETTINGS)
    assert Part.from_json(json.loads(json.dumps(part.to_json()))) == part


@pytest.mark.parametrize(
    "side",
    [{"causal": True}, {"mask": torch.ones(1, 1, 10, 10, dtype=torch.bool)}, {"bias": torch.zeros(1, 1, 10, 10)}],
)
def test_constraints_between_tokens_are_refused_by_name(side):
    with pytest.raises(ValueError, match=f"the constraint '{next(iter(side))}' is set and not supported here"):
        guided()(tokens(**side))


def test_another_position_is_refused():
    with pytest.raises(ValueError, match="position must be a VirtualProjection, not CoordinateMLP"):
        guided(position=Part(CoordinateMLP))


@pytest.mark.parametrize("settings", [{"voxel": 0.0}, {"cell": -1.0}])
def test_cells_without_size_are_refused(settings):
    with pytest.raises(ValueError, match="sizes must be positive"):
        guided(**settings)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="width 12 is not a multiple of heads 5"):
        guided(heads=5)
