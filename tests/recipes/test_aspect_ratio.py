"""Aspect ratio: exact numbers of parameters, heads that add up, and rules that do not mind the inner width."""

import inspect

import pytest
import torch
import torch.nn as nn

from unimodal.attention.sigmoid import SigmoidAttention
from unimodal.attention.sliding_window import SlidingWindowAttention
from unimodal.catalog import catalog
from unimodal.mixers.full import Full
from unimodal.part import Part
from unimodal.recipes.aspect_ratio import aspect_ratio
from unimodal.side import Side
from unimodal.tokens import Tokens

TOTALS = {6: 18_906_112, 3: 12_599_296, 2: 10_497_024, 1: 8_394_752}


@pytest.mark.parametrize("layers", TOTALS)
def test_parameters_are_those_of_the_formula_and_attention_has_as_many_at_every_ratio(layers):
    dim, width, hidden, total = 512, 64, 2048, 48
    with torch.device("meta"):
        core = aspect_ratio(total, layers, head_width=width, hidden=hidden)(dim)
    sizes = {name: p.numel() for name, p in core.named_parameters()}
    maps = [n for name, n in sizes.items() if ".mixer." in name and name.endswith("weight")]
    assert sum(maps) == 4 * dim * total * width == 6_291_456
    ffn = [n for name, n in sizes.items() if ".ffn." in name]
    assert sum(ffn) == layers * (2 * dim * hidden + hidden + dim)
    assert sum(sizes.values()) == sum(maps) + layers * (2 * dim * hidden + hidden + 6 * dim) + 2 * dim == TOTALS[layers]
    assert {block.mixer.heads for block in core.blocks} == {total // layers}


@pytest.mark.parametrize("rule", [None, Part(SigmoidAttention), Part(SlidingWindowAttention, window=3)])
def test_a_layer_with_the_heads_of_two_layers_is_the_sum_of_both(rule):
    options = {"head_width": 6, "bias": False} | ({} if rule is None else {"attention": rule})
    one, two, both = (Full(10, heads=h, **options).double() for h in (3, 4, 7))
    with torch.no_grad():
        parts = [m.to_qkv.weight.split(m.sizes) for m in (one, two)]
        both.to_qkv.weight.copy_(torch.cat([torch.cat(pair) for pair in zip(*parts, strict=True)]))
        both.to_out.weight.copy_(torch.cat([one.to_out.weight, two.to_out.weight], dim=1))
        both.to_out.bias.copy_(one.to_out.bias + two.to_out.bias)
    x = torch.randn(2, 9, 10, dtype=torch.float64)
    for side in (Side(), Side(causal=True)):
        torch.testing.assert_close(both(x, side), one(x, side) + two(x, side), rtol=0, atol=1e-12)


def test_with_heads_that_fill_the_width_it_is_torchs_multi_head_attention():
    ours, theirs = Full(12, heads=3, head_width=4).double(), nn.MultiheadAttention(12, 3, batch_first=True).double()
    with torch.no_grad():
        ours.to_qkv.weight.copy_(theirs.in_proj_weight)
        ours.to_qkv.bias.copy_(nn.init.normal_(theirs.in_proj_bias))
        ours.to_out.load_state_dict(theirs.out_proj.state_dict())
    x = torch.randn(2, 7, 12, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x, x, x, need_weights=False)[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", sorted(catalog("attention")))
def test_every_rule_takes_heads_wider_than_their_share_and_learns(name):
    cls = catalog("attention")[name]
    taken = inspect.signature(cls).parameters.values()
    needed = {p.name for p in taken if p.kind is p.KEYWORD_ONLY and p.default is p.empty}
    rule = Part(cls, **{name: {"heads": 4, "width": 8, "grid": (2, 3)}[name] for name in needed})
    part = aspect_ratio(8, 2, head_width=8, hidden=20, attention=rule)
    core, x = part(12), torch.randn(2, 6, 12, requires_grad=True)
    y = core(Tokens(x, Side(grid=(2, 3)))).x
    y.square().sum().backward()
    assert y.shape == x.shape
    assert core.blocks[0].mixer.to_out.in_features == 32
    for tensor in (x, *core.parameters()):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()
    twin = part(12)
    twin.load_state_dict(core.state_dict())
    torch.testing.assert_close(twin.eval()(Tokens(x, Side(grid=(2, 3)))).x, core.eval()(Tokens(x, Side(grid=(2, 3)))).x)


def test_heads_that_cannot_be_shared_evenly_are_refused():
    for layers in (0, 5):
        with pytest.raises(ValueError, match=f"{layers} layers cannot share 48 heads evenly"):
            aspect_ratio(48, layers)
