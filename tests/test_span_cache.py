"""Span cache: steps of any size give the whole forward pass, and layers keep no more than their span."""

from typing import Any

import pytest
import torch

from unimodal.attention.block_local import BlockLocalAttention
from unimodal.attention.sigmoid import SigmoidAttention
from unimodal.attention.sliding_window import SlidingWindowAttention
from unimodal.attention.softmax import SoftmaxAttention
from unimodal.block import Block
from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.positions.rotary import Rotary
from unimodal.side import Side
from unimodal.span_cache import SpanCache
from unimodal.tokens import Tokens
from unimodal.transformer import Transformer

RULES = (
    Part(SoftmaxAttention),
    Part(BlockLocalAttention, block=6),
    Part(BlockLocalAttention, block=6, lookback=1),
    Part(SlidingWindowAttention, window=7),
)


def core(*rules: Part, **kwargs: Any) -> Transformer:
    blocks = tuple(
        Part(Block, mixer=Part(Full, heads=4, key_heads=2, attention=rule, **kwargs), ffn=Part(Plain)) for rule in rules
    )
    return Transformer(16, depth=len(blocks), blocks=blocks, norm=Part(LayerNorm)).double().eval()


@pytest.mark.parametrize("steps", [[1] * 40, [13, 1, 1, 7, 18], [6, 6, 12, 1, 15], [40]])
def test_steps_give_what_one_pass_gives_and_keep_no_more_than_a_span(steps):
    transformer, x = core(*RULES), torch.randn(2, 40, 16, dtype=torch.float64)
    expected = transformer(Tokens(x, Side(causal=True))).x
    cache, found, seen = SpanCache(transformer), [], 0
    assert cache.kept() == [0, 0, 0, 0]
    for step in x.split(steps, 1):
        found.append(cache(Tokens(step, Side(causal=True))).x)
        seen += step.shape[1]
        assert cache.kept() == [seen, seen % 6, min(seen, seen % 6 + 6), min(seen, 7)]
    torch.testing.assert_close(torch.cat(found, 1), expected, rtol=0, atol=1e-10)
    assert torch.equal(transformer(Tokens(x, Side(causal=True))).x, expected)
    cache.reset()
    torch.testing.assert_close(cache(Tokens(x[:, :5], Side(causal=True))).x, expected[:, :5], rtol=0, atol=1e-10)


def test_positions_on_heads_go_with_the_tokens():
    transformer = core(*RULES, position=Part(Rotary))
    x, place = torch.randn(2, 20, 16, dtype=torch.float64), torch.arange(20.0)[None, :, None].expand(2, -1, -1)
    expected = transformer(Tokens(x, Side(causal=True, positions=place))).x
    cache = SpanCache(transformer)
    parts = [cache(Tokens(x[:, n : n + 1], Side(causal=True, positions=place[:, n : n + 1]))).x for n in range(20)]
    torch.testing.assert_close(torch.cat(parts, 1), expected, rtol=0, atol=1e-6)  # angles are float32


def test_the_cache_holds_the_models_weights_and_no_copy():
    transformer = core(*RULES)
    cache = SpanCache(transformer)
    assert {id(p) for p in cache._core.parameters()} == {id(p) for p in transformer.parameters()}


def test_layers_without_a_known_span_and_shared_ones_are_refused():
    with pytest.raises(ValueError, match="layer 0 has SigmoidAttention, whose span is not known"):
        SpanCache(core(Part(SigmoidAttention)))
    block = Part(Block, mixer=Part(Full, heads=2), ffn=Part(Plain))
    with pytest.raises(ValueError, match="layers in groups of 2 share weights"):
        SpanCache(Transformer(16, depth=2, shared=2, blocks=block))


@pytest.mark.parametrize(
    "side, message",
    [
        (Side(), "side.causal must be set"),
        (Side(causal=True, lengths=torch.tensor([3, 4])), "'lengths' is set and not supported"),
        (Side(causal=True, mask=torch.ones(4, 4).bool()), "'mask' is set and not supported"),
    ],
)
def test_tokens_that_do_not_come_one_after_another_are_refused(side, message):
    with pytest.raises(ValueError, match=message):
        SpanCache(core(*RULES))(Tokens(torch.randn(2, 4, 16, dtype=torch.float64), side))
