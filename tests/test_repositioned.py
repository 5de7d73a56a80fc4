"""Repositioned: the same offset in front of every block."""

import json

import pytest
import torch

from unimodal.part import Part
from unimodal.positions.coordinate_mlp import CoordinateMLP
from unimodal.positions.rotary import Rotary
from unimodal.recipes.pre_norm import pre_norm
from unimodal.repositioned import Repositioned
from unimodal.side import Side
from unimodal.tokens import Tokens

CORE = pre_norm(depth=3, heads=2, hidden=16)


@pytest.fixture
def part():
    return Repositioned(8, core=CORE, position=Part(CoordinateMLP), prefix=1).double().eval()


def tokens(**side):
    return Tokens(torch.randn(2, 6, 8).double(), Side(positions=torch.randn(2, 6, 3).double(), prefix=1, **side))


def test_every_block_sees_its_input_with_the_position_added(part):
    given = tokens()
    p = part.position(torch.zeros_like(given.x), given.side)
    p[:, 0] = part.prefix[0]
    x, seen = given.x, [given.x]
    for block in part.core.blocks:
        x = block(x + p, given.side)
        seen.append(x)
    torch.testing.assert_close(part(given).x, part.core.norm(x))
    for depth, features in enumerate(part.features(given, [0, 1, 2])):
        torch.testing.assert_close(features.x, seen[depth])
    assert torch.equal(part.features(given, [0, 3])[1].x, part(given).x)


def test_with_an_offset_of_zero_it_is_its_core():
    part = Repositioned(8, core=CORE, position=Part(CoordinateMLP)).double().eval()
    torch.nn.init.zeros_(part.position.to_out.weight)
    torch.nn.init.zeros_(part.position.to_out.bias)
    given = tokens()
    torch.testing.assert_close(part(given).x, part.core(given).x)


def test_something_may_happen_behind_every_block(part):
    given = tokens()
    x, place = given.x, part.offset(given)
    for i, block in enumerate(part.core.blocks):
        x = block(x + place, given.side) * (i + 2)
    [out] = part.features(given, [3], lambda x, i: x * (i + 2))
    torch.testing.assert_close(out.x, part.core.norm(x))
    assert torch.equal(part.features(given, [0], lambda x, i: x + 1)[0].x, given.x)


def test_packed_equals_padded_and_further_prefix_tokens_get_nothing(part):
    given = tokens(lengths=torch.tensor([6, 4])).replace(prefix=2)
    for row, other in zip(part(given).split(), part(given.packed()).split(), strict=True):
        torch.testing.assert_close(row, other)
    assert not part.offset(given)[:, 1].any()


def test_it_comes_back_from_json():
    part = Part(Repositioned, core=CORE, position=Part(CoordinateMLP), prefix=1)
    assert Part.from_json(json.loads(json.dumps(part.to_json()))) == part


def test_gradients_reach_the_offset(part):
    part(tokens()).x.square().sum().backward()
    for name, parameter in part.named_parameters():
        assert parameter.grad is not None, name
    assert part.prefix.grad.abs().max() > 0
    assert part.position.to_hidden.weight.grad.abs().max() > 0


def test_tokens_without_the_prefix_are_refused(part):
    with pytest.raises(ValueError, match="1 prefix tokens have a vector here, and the tokens have 0"):
        part(tokens().replace(prefix=0))


def test_a_position_of_heads_is_refused():
    with pytest.raises(ValueError, match="position Rotary acts on heads, not on tokens"):
        Repositioned(8, core=CORE, position=Part(Rotary))


@pytest.mark.parametrize("depths", [[4], [-1], [2, 1]])
def test_depths_that_do_not_exist_are_refused(part, depths):
    with pytest.raises(ValueError, match=r"depths must ascend within 0\.\.3"):
        part.features(tokens(), depths)
