"""Attention with dropped weights: the equation with a known mask of dropped weights, and its limits."""

import pytest
import torch
import torch.nn.functional as F

from unimodal.attention.dropout import DropoutAttention
from unimodal.attention.softmax import SoftmaxAttention
from unimodal.masks import keys_within
from unimodal.side import Side


def heads(n=6, m=6, dtype=torch.float64):
    return (torch.randn(2, 4, length, 5, dtype=dtype) for length in (n, m, m))


@pytest.mark.parametrize(
    "side",
    [
        Side(),
        Side(causal=True),
        Side(lengths=torch.tensor([6, 4])),
        Side(bias=torch.randn(1, 4, 6, 6).double(), mask=torch.ones(6, 6).tril().bool()[None, None]),
    ],
)
def test_while_training_it_is_the_equation_with_the_weights_that_were_drawn(side):
    q, k, v = heads()
    rule = DropoutAttention(rate=0.4).train()
    torch.manual_seed(5)
    out = rule(q, k, v, side)
    torch.manual_seed(5)
    kept = F.dropout(torch.ones(2, 4, 6, 6, dtype=torch.float64), 0.4)
    for b in range(2):
        for h in range(4):
            for n in range(6):
                seen = [
                    m
                    for m in range(6)
                    if (not side.causal or m <= n)
                    and (side.lengths is None or m < side.lengths[b])
                    and (side.mask is None or side.mask[0, 0, n, m])
                ]
                logits = torch.stack(
                    [
                        q[b, h, n] @ k[b, h, m] / 5**0.5 + (0 if side.bias is None else side.bias[0, h, n, m])
                        for m in seen
                    ]
                )
                weights = logits.exp() / logits.exp().sum()
                expected = sum(w * kept[b, h, n, m] * v[b, h, m] for w, m in zip(weights, seen, strict=True))
                torch.testing.assert_close(out[b, h, n], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("rate", "training"), [(0.3, False), (0.0, True)])
def test_without_dropping_it_is_softmax_attention(rate, training):
    q, k, v = heads(dtype=torch.float32)
    rule = DropoutAttention(rate=rate).train(training)
    assert torch.equal(rule(q, k, v), SoftmaxAttention()(q, k, v))


def test_the_mean_over_many_draws_is_softmax_attention():
    q, k, v = heads()
    rule, plain = DropoutAttention(rate=0.5).train(), SoftmaxAttention()(q, k, v)
    draws = torch.stack([rule(q, k, v) for _ in range(4000)])
    # each draw is a sum of weights of variance w^2: its standard error is below |v| / sqrt(draws)
    assert (draws.mean(0) - plain).abs().max() < 5 * v.abs().max() / 4000**0.5


def test_a_query_without_keys_gives_zero_while_training():
    q, k, v = heads()
    none = Side(mask=torch.zeros(1, 1, 6, 6, dtype=torch.bool))
    assert not DropoutAttention(rate=0.2).train()(q, k, v, none).any()


def test_a_packed_batch_attends_within_each_sequence_while_training():
    q, k, v = (t[:1] for t in heads())
    side = Side(cu_seqlens=torch.tensor([0, 2, 6], dtype=torch.int32))
    rule = DropoutAttention(rate=0.5).train()
    torch.manual_seed(1)
    before = rule(q, k, v, side)
    torch.manual_seed(1)
    after = rule(q, torch.cat([k[:, :, :2], k[:, :, 2:] + 3], 2), v, side)
    assert torch.equal(before[:, :, :2], after[:, :, :2])
    assert not torch.equal(before[:, :, 2:], after[:, :, 2:])


def test_grouped_heads_share_keys_while_training():
    q, k, v = heads()
    rule = DropoutAttention(rate=0.3).train()
    torch.manual_seed(2)
    grouped = rule(q, k[:, :2], v[:, :2])
    torch.manual_seed(2)
    spread = rule(q, k[:, :2].repeat_interleave(2, 1), v[:, :2].repeat_interleave(2, 1))
    torch.testing.assert_close(grouped, spread, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_a_rate_that_is_no_probability_below_one_raises(rate):
    with pytest.raises(ValueError, match=f"rate is a probability below 1, not {rate}"):
        DropoutAttention(rate=rate)


def test_a_packed_batch_with_a_mask_raises_while_training():
    q, k, v = (t[:1] for t in heads())
    side = Side(cu_seqlens=torch.tensor([0, 2, 6], dtype=torch.int32), mask=keys_within(torch.tensor([5]), 6))
    with pytest.raises(ValueError, match="a packed batch takes no mask"):
        DropoutAttention(rate=0.5).train()(q, k, v, side)
