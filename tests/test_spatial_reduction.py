"""Spatial reduction: keys and the cost of attention fall with R squared, and without a reduction it is plain."""

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from unimodal.mixers.full import Full
from unimodal.side import Side
from unimodal.spatial_reduction import spatial_reduction
from unimodal.tokens import Tokens


def test_without_a_reduction_it_is_multi_head_attention_exactly():
    mixer: Any = spatial_reduction(12, heads=3, reduction=1)(12)
    x = torch.randn(2, 20, 12)
    assert isinstance(mixer, Full)
    plain = torch.nn.MultiheadAttention(12, 3, batch_first=True)
    theirs = (plain.in_proj_weight, plain.in_proj_bias, plain.out_proj.weight, plain.out_proj.bias)
    ours = (mixer.to_qkv.weight, mixer.to_qkv.bias, mixer.to_out.weight, mixer.to_out.bias)
    with torch.no_grad():
        for a, b in zip(theirs, ours, strict=True):
            a.copy_(b)
    torch.testing.assert_close(mixer(x, Side(grid=(4, 5))), plain(x, x, x)[0], rtol=0, atol=1e-6)


def multiply_adds_of_attention(reduction: int, side: int) -> float:
    """Those of the two products, at width 64: all there are, less those of the maps that they stand between."""
    cells, width = side**2, 64
    keys = (side // reduction) ** 2
    maps = 2 * cells * width**2 + 2 * keys * width**2 + (keys * (reduction * width) ** 2 if reduction > 1 else 0)
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        spatial_reduction(width, heads=1, reduction=reduction)(width)(
            torch.zeros(1, cells, width), Side(grid=(side, side))
        )
    return counter.get_total_flops() / 2 - maps


@pytest.mark.parametrize("reduction", [2, 4, 8])
def test_attention_over_3136_tokens_costs_r_squared_less_and_16_times_as_much_at_twice_the_side(reduction):
    alone, reduced = (multiply_adds_of_attention(r, 56) for r in (1, reduction))
    assert alone == 2 * 3136**2 * 64
    assert alone / reduced == reduction**2
    assert multiply_adds_of_attention(reduction, 112) == 16 * reduced


@pytest.mark.parametrize("side, reduction, keys", [((56, 56), 8, 49), ((80, 64), 8, 80), ((13, 9), 4, 6)])
def test_there_is_a_key_for_every_whole_box(side, reduction, keys):
    mixer: Any = spatial_reduction(8, heads=1, reduction=reduction)(8)
    assert mixer.reduce(Tokens(torch.randn(1, side[0] * side[1], 8), Side(grid=side))).x.shape == (1, keys, 8)
