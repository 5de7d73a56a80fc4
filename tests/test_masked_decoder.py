"""The masked decoder: every token back at its place, hidden ones alike but for it, a predictor for each kind."""

from typing import Any

import pytest
import torch

from unimodal.block import Block
from unimodal.masked_decoder import MaskedDecoder
from unimodal.mixers.full import Full
from unimodal.part import Part
from unimodal.positions.rotary import Rotary
from unimodal.positions.sincos import SinCos
from unimodal.side import Side
from unimodal.tokens import Tokens
from unimodal.transformer import Transformer

CORE = Part(Transformer, depth=2, blocks=Part(Block, mixer=Part(Full, heads=2), ffn=None))
KINDS = ((3, 2, 2), (1, 2, 2, 2))


class Unplaced(torch.nn.Module):
    """No position at all."""

    def forward(self, x: torch.Tensor, side: Side) -> torch.Tensor:
        return x


def decoder(**settings: Any) -> MaskedDecoder:
    return MaskedDecoder(6, patches=KINDS, width=12, **{"core": CORE, **settings})


def test_it_equals_the_equation_in_loops():
    made, order = decoder().double(), torch.stack([torch.randperm(8) for _ in range(2)])
    visible = torch.randn(2, 1 + 3, 6, dtype=torch.float64)
    expected = torch.zeros(2, 9, 12, dtype=torch.float64)
    for b in range(2):
        expected[b, 0] = made.embed(visible[b, 0])
        for rank, place in enumerate(order[b].tolist()):
            expected[b, 1 + place] = made.embed(visible[b, 1 + rank]) if rank < 3 else made.hidden
    side = Side(grid=(2, 2, 2), prefix=1)
    x = made.core(Tokens(SinCos(12)(expected, side), side)).x[:, 1:]
    predicted = made.predict["1x2x2x2"](x)
    found = made(Tokens(visible, Side(prefix=1)), order, (2, 2, 2), KINDS[1])
    torch.testing.assert_close(found, predicted)


def test_where_the_visible_tokens_stand_in_the_row_does_not_matter():
    made, visible = decoder(), torch.randn(1, 4, 6)
    order = torch.randperm(8)[None]
    turned = order.clone()
    turned[:, :3] = order[:, [2, 0, 1]]
    shuffled = torch.cat([visible[:, :1], visible[:, 1:][:, [2, 0, 1]]], 1)
    one, other = (
        made(Tokens(x, Side(prefix=1)), o, (2, 4), KINDS[0]) for x, o in ((visible, order), (shuffled, turned))
    )
    assert torch.equal(one, other)


def test_hidden_tokens_differ_by_their_place_alone():
    flat = decoder(core=Part(Transformer, depth=1, blocks=Part(Block, mixer=Part(Full, heads=2), ffn=None)))
    order, visible = torch.arange(8)[None], Tokens(torch.randn(1, 2, 6), Side())
    placed = flat(visible, order, (2, 4), KINDS[0])
    assert not torch.allclose(placed[0, 2], placed[0, 3])
    flat.position["3x2x2"] = Unplaced()
    alike = flat(visible, order, (2, 4), KINDS[0])
    torch.testing.assert_close(alike[0, 2:], alike[0, 2:3].expand(6, -1))


@pytest.mark.parametrize("patches", [(), ((3, 4),), ((3, 4, 0),), ((3, 4, 4, 4, 4),)])
def test_shapes_that_are_no_patches_are_refused(patches):
    with pytest.raises(ValueError, match="patches must be shapes"):
        MaskedDecoder(6, patches=patches)


def test_one_shape_twice_is_refused():
    with pytest.raises(ValueError, match="patches must differ"):
        MaskedDecoder(6, patches=((3, 4, 4), (3, 4, 4)))


def test_a_position_on_heads_is_refused():
    with pytest.raises(ValueError, match="position Rotary acts on heads"):
        decoder(position=Part(Rotary))


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="patches of 1x2x2 are unknown here; there are 3x2x2, 1x2x2x2"):
        decoder()(Tokens(torch.randn(1, 2, 6), Side()), torch.arange(8)[None], (2, 4), (1, 2, 2))


def test_a_grid_of_other_cells_is_refused():
    with pytest.raises(ValueError, match=r"a grid \(2, 3\) has 6 cells, and the order 8 places"):
        decoder()(Tokens(torch.randn(1, 2, 6), Side()), torch.arange(8)[None], (2, 3), KINDS[0])
