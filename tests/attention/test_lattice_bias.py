"""Lattice bias: the equation in loops, limits, larger and smaller lattices, mixed batches."""

import pytest
import torch

from unimodal.attention.lattice_bias import LatticeBias
from unimodal.attention.relative_bias import RelativeBiasAttention
from unimodal.attention.sigmoid import SigmoidAttention
from unimodal.attention.softmax import SoftmaxAttention
from unimodal.part import Part
from unimodal.side import Side


def made(window=(2, 3), **options) -> LatticeBias:
    rule = LatticeBias(heads=4, window=window, **options).double()
    torch.nn.init.normal_(rule.table)
    return rule


def qkv(tokens: int, batch: int = 1, key_heads: int = 4):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(batch, h, tokens, 5, dtype=torch.float64, generator=generator) for h in (4, *(key_heads,) * 2)]


@pytest.mark.parametrize("grid", [(2, 3), (1, 2), (3, 5)])
@pytest.mark.parametrize("prefix", [0, 1])
def test_the_equation_in_loops(grid, prefix):
    rule, (q, k, v) = made(), qkv(prefix + grid[0] * grid[1])
    places = [None] * prefix + [(y, x) for y in range(grid[0]) for x in range(grid[1])]
    expected = torch.zeros_like(q)
    for h in range(4):
        for n, one in enumerate(places):
            logits = q[0, h, n] @ k[0, h].mT / 5**0.5
            for m, other in enumerate(places):
                if one is not None and other is not None:
                    dy, dx = max(-1, min(1, one[0] - other[0])), max(-2, min(2, one[1] - other[1]))
                    logits[m] += rule.table[(dy + 1) * 5 + dx + 2, h].detach()
            expected[0, h, n] = logits.softmax(0) @ v[0, h]
    torch.testing.assert_close(rule(q, k, v, Side(grid=grid, prefix=prefix)), expected)


def test_one_row_of_cells_is_the_relative_bias_of_a_sequence():
    rule, other, (q, k, v) = made((1, 6)), RelativeBiasAttention(heads=4, length=6).double(), qkv(6)
    other.bias.data = rule.table.detach().mT.flip(1)  # there the offset is the key's place less the query's
    torch.testing.assert_close(rule(q, k, v, Side(grid=(1, 6))), other(q, k, v, Side(grid=(6,))))


@pytest.mark.parametrize("inner", [Part(SoftmaxAttention), Part(SigmoidAttention, level=0.0)])
def test_a_table_of_zeros_is_the_rule_alone_with_grouped_heads_too(inner):
    rule, (q, k, v) = made(attention=inner), qkv(6, key_heads=2)
    torch.nn.init.zeros_(rule.table)
    bias = torch.randn(1, 1, 6, 6, dtype=torch.float64)
    side = Side(grid=(2, 3), bias=bias)
    torch.testing.assert_close(rule(q, k, v, side), inner()(q, k, v, side))


def test_lattices_of_a_mixed_batch_have_their_own_bias():
    rule, (q, k, v), grids = made(), qkv(6, batch=2), ((2, 2), (3, 2))
    o = rule(q, k, v, Side(grids=grids, lengths=torch.tensor([4, 6])))
    torch.testing.assert_close(o[1:], rule(q[1:], k[1:], v[1:], Side(grid=(3, 2))))
    torch.testing.assert_close(o[:1, :, :4], rule(*(t[:1, :, :4] for t in (q, k, v)), Side(grid=(2, 2))))


def test_places_of_clips_have_three_axes_and_gradients_reach_the_table():
    rule = made((2, 2, 2))
    rule(*qkv(8), Side(grid=(2, 2, 2))).square().sum().backward()
    assert rule.table.shape == (27, 4)
    assert rule.table.grad is not None
    assert rule.table.grad.all()


@pytest.mark.parity
def test_the_bias_is_timms_from_the_same_table():
    swin = pytest.importorskip("timm.models.swin_transformer")
    peer, rule = swin.WindowAttention(12, 4, window_size=(4, 3)), LatticeBias(heads=4, window=(4, 3))
    rule.load_state_dict({"table": peer.relative_position_bias_table})
    assert torch.equal(rule.bias((4, 3))[None], peer._get_rel_pos_bias())


@pytest.mark.parametrize(
    "side, tokens, match",
    [
        (Side(), 6, "grid"),
        (Side(grid=(6,)), 6, "as many axes"),
        (Side(grid=(2, 3), prefix=1), 6, "has not 6 tokens"),
        (Side(grid=(2, 3), lengths=torch.tensor([6]), bias=torch.zeros(1, 1, 6, 6)), 6, "bias"),
    ],
)
def test_other_sides_are_refused(side, tokens, match):
    with pytest.raises(ValueError, match=match):
        made()(*qkv(tokens), side)


def test_other_heads_other_keys_and_empty_windows_are_refused():
    q, k, v = qkv(6)
    with pytest.raises(ValueError, match="heads is 4"):
        made()(q[:, :2], k, v, Side(grid=(2, 3)))
    with pytest.raises(ValueError, match="tokens of one lattice"):
        made()(q[:, :, :2], k, v, Side(grid=(2, 3)))
    with pytest.raises(ValueError, match="window is a number of cells"):
        LatticeBias(heads=2, window=(0, 2))
