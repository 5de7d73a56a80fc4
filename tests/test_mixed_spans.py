"""Mixed spans: the same weights and function where spans are long, the paper's savings by counting, how far it sees."""

from typing import Any

import pytest
import torch

from unimodal.attention.block_local import BlockLocalAttention
from unimodal.attention.sigmoid import SigmoidAttention
from unimodal.attention.sliding_window import SlidingWindowAttention
from unimodal.attention.softmax import SoftmaxAttention
from unimodal.block import Block
from unimodal.ffns.plain import Plain
from unimodal.mixed_spans import causal_scores, full_layers, to_mixed_spans
from unimodal.mixers.full import Full
from unimodal.model import Model
from unimodal.part import Part
from unimodal.side import Side
from unimodal.tokens import Tokens
from unimodal.transformer import Transformer

BLOCKS = Part(BlockLocalAttention, block=5, lookback=1)


def model(depth=4, rule: Part = Part(SoftmaxAttention), **kwargs) -> Any:
    block = Part(Block, mixer=Part(Full, heads=2, attention=rule), ffn=Part(Plain))
    core = Part(Transformer, depth=depth, blocks=block, **kwargs)
    return Model(8, tokenizers={}, transformer=core).double().eval()


def tokens(count=40) -> Tokens:
    return Tokens(torch.randn(2, count, 8, dtype=torch.float64), Side(causal=True))


@pytest.mark.parametrize("full, local", [(4, BLOCKS), (0, BLOCKS.replace(block=40)), (1, BLOCKS.replace(block=99))])
def test_all_layers_full_or_blocks_as_long_as_the_sequence_are_the_model_itself(full, local):
    before, x = model(), tokens()
    assert torch.equal(to_mixed_spans(before, full=full, local=local).transformer(x).x, before.transformer(x).x)


def test_no_parameter_is_new_and_the_model_itself_stays_as_it_is():
    before, x = model(), tokens()
    was = before.transformer(x).x
    after = to_mixed_spans(before, full=2, local=BLOCKS)
    assert [id(p) for p in after.parameters()] == [id(p) for p in before.parameters()]
    assert list(after.state_dict()) == list(before.state_dict())
    assert not torch.allclose(after.transformer(x).x, was)
    assert torch.equal(before.transformer(x).x, was)
    back = to_mixed_spans(after, full=4)
    assert torch.equal(back.transformer(x).x, was)


def test_the_scale_of_each_layer_is_kept():
    after = to_mixed_spans(model(rule=Part(SoftmaxAttention, scale=1.0)), full=1, local=Part(SlidingWindowAttention))
    rules = [block.mixer.attention for block in after.transformer.blocks]
    assert [type(rule) for rule in rules] == [SoftmaxAttention, *[SlidingWindowAttention] * 3]
    assert {rule.scale for rule in rules} == {1.0}


@pytest.mark.parametrize("full, first", [(0, 6), (1, 0)])
def test_without_a_full_layer_a_token_sees_a_block_back_a_layer_and_with_one_all(full, first):
    x = torch.randn(1, 40, 8, dtype=torch.float64, requires_grad=True)
    core = to_mixed_spans(model(depth=4), full=full, local=BLOCKS.replace(block=6)).transformer
    core(Tokens(x, Side(causal=True))).x[0, 34].sum().backward()
    assert x.grad is not None
    assert x.grad[0].abs().sum(-1).nonzero().flatten().tolist() == list(range(first, 35))


def test_full_layers_lie_where_the_placement_says():
    assert full_layers(24, 4) == (0, 1, 2, 3)
    assert full_layers(24, 4, "top") == (20, 21, 22, 23)
    assert full_layers(24, 4, "interleaved") == (0, 6, 12, 18)
    for placement in ("bottom", "top", "interleaved"):
        assert full_layers(7, 7, placement) == tuple(range(7))
        assert full_layers(7, 0, placement) == ()


@pytest.mark.parametrize("count", [0, 1, 9, 10, 23, 40])
@pytest.mark.parametrize("span", [{}, {"block": 10}, {"block": 10, "lookback": 1}, {"window": 3}, {"window": 50}])
def test_scores_are_as_many_as_weights_that_are_not_zero(count, span):
    """Logits are all 0 and values the unit vectors, so that the output is the matrix of weights."""
    kinds = {"block": BlockLocalAttention, "window": SlidingWindowAttention}
    rule = kinds[next(iter(span))](**span) if span else SoftmaxAttention()
    q, v = torch.zeros(1, 1, count, 8), torch.eye(count)[None, None]
    weight = rule(q, q, v, Side(causal=True))
    assert int((weight > 0).sum()) == causal_scores(count, **span)


@pytest.mark.parametrize("full, own, previous", [(4, 0.271, 0.453), (8, 0.417, 0.563), (12, 0.563, 0.672)])
def test_the_share_of_scores_at_8192_tokens_in_blocks_of_1024(full, own, previous):
    all_full = causal_scores(8192)
    for lookback, expected in ((0, own), (1, previous)):
        near = causal_scores(8192, block=1024, lookback=lookback)
        assert (full * all_full + (24 - full) * near) / (24 * all_full) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize(
    "build, options, message",
    [
        (lambda: torch.nn.Linear(2, 2), {}, "must be a Transformer or hold one, not Linear"),
        (lambda: model(shared=2), {}, "layers in groups of 2 share weights"),
        (
            lambda: model(rule=Part(SigmoidAttention)),
            {},
            "layer 0 has SigmoidAttention where softmax attention is needed",
        ),
        (model, {"full": 5}, r"full is a number of layers in 0\.\.4, not 5"),
        (model, {"placement": "middle"}, "placement must be 'bottom', 'top' or 'interleaved', not 'middle'"),
    ],
)
def test_models_and_numbers_that_do_not_fit_are_refused(build, options, message):
    with pytest.raises(ValueError, match=message):
        to_mixed_spans(build(), **{"full": 1, **options})


def test_a_block_and_a_window_at_once_are_refused():
    with pytest.raises(ValueError, match="a block or a window, not both"):
        causal_scores(8, block=2, window=2)
