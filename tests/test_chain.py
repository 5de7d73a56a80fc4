"""The chain: parts in a row whose widths may change, what folds within it, and what it is to others."""

from typing import Any

import pytest
import torch

from unimodal.chain import Chain
from unimodal.ffns.activated import Activated
from unimodal.ffns.linear import Linear
from unimodal.mixers.depthwise import Depthwise
from unimodal.norms.batch import BatchNorm
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.side import Side

SIDE = Side(grid=(3, 4))
MAPS = (Part(Linear, width=6), Part(Depthwise), Part(BatchNorm), Part(Activated), Part(Linear, width=5))


def randomised(dim: int, **options: Any) -> Any:
    chain = Chain(dim, **options).double().eval()
    for name, tensor in chain.state_dict().items():
        if tensor.is_floating_point():
            torch.nn.init.uniform_(tensor, 0.3, 2.0) if name.endswith("var") else torch.nn.init.normal_(tensor)
    return chain


def test_each_part_reads_what_the_one_before_made():
    chain, x = randomised(4, parts=MAPS), torch.randn(2, 12, 4).double()
    h = x
    for part in chain.parts:
        h = part(h, SIDE)
    assert torch.equal(chain(x, SIDE), h)
    assert chain.width == 5


def test_norms_go_into_the_maps_beside_them():
    chain, x = randomised(4, parts=(Part(BatchNorm), *MAPS, Part(BatchNorm))), torch.randn(2, 12, 4).double()
    before = {name: value.clone() for name, value in chain.state_dict().items()}
    deployed = chain.deployed()
    assert [type(part) for part in deployed.parts] == [Linear, Depthwise, Activated, Linear]
    torch.testing.assert_close(deployed(x, SIDE), chain(x, SIDE), rtol=0, atol=1e-12)
    assert all(torch.equal(value, before[name]) for name, value in chain.state_dict().items())


def test_a_norm_beside_a_chain_goes_into_its_outer_maps():
    chain, x = randomised(4, parts=MAPS), torch.randn(2, 12, 4).double()
    factor_4, shift_4, factor_5, shift_5 = (torch.randn(n).double() for n in (4, 4, 5, 5))
    behind, front = chain.scaled(factor_5, shift_5), chain.preceded(factor_4, shift_4)
    torch.testing.assert_close(behind(x, SIDE), factor_5 * chain(x, SIDE) + shift_5)
    torch.testing.assert_close(front(x, SIDE), chain(factor_4 * x + shift_4, SIDE))


def test_a_chain_takes_in_no_more_than_its_outer_parts_do():
    chain = Chain(4, parts=(Part(Depthwise), Part(LayerNorm)))
    assert not hasattr(chain, "scaled")
    assert not hasattr(chain, "preceded")


def test_an_activation_writes_over_what_a_map_of_the_chain_made_and_over_nothing_else():
    chain, x, seen = randomised(4, parts=(Part(Linear), Part(Activated))), torch.randn(2, 12, 4).double(), []
    chain.parts[0].register_forward_hook(lambda _, given, out: seen.append(out))
    wanted = chain(x, SIDE)
    with torch.no_grad():
        assert torch.equal(chain(x, SIDE), wanted)
        assert chain(x, SIDE).data_ptr() == seen[-1].data_ptr()
        for parts in ((Part(Activated),), (Part(Activated), Part(Activated)), (Part(LayerNorm), Part(Activated))):
            before = x.clone()
            randomised(4, parts=parts)(x, SIDE)
            assert torch.equal(x, before)


def test_it_round_trips():
    part = Part(Chain, parts=MAPS)
    assert Part.from_json(part.to_json()) == part


def test_an_empty_chain_is_refused():
    with pytest.raises(ValueError, match="at least one part"):
        Chain(3, parts=())
