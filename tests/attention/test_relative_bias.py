"""Relative bias: against the equation, torch's attention with the same mask, and its limits."""

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F

from unimodal.attention.relative_bias import RelativeBiasAttention
from unimodal.attention.softmax import SoftmaxAttention
from unimodal.side import Side
from unimodal.tokens import Tokens


def heads(rows=2, tokens=7, keys=None):
    sizes = (tokens, keys or tokens, keys or tokens)
    return [torch.randn(rows, 2, n, 4, dtype=torch.float64) for n in sizes]


def attention(length=9, **kwargs) -> RelativeBiasAttention:
    rule = RelativeBiasAttention(heads=2, length=length, **kwargs).double()
    nn.init.normal_(rule.bias)
    return rule


@pytest.mark.parametrize("implementation", ["reference", "require"])
@pytest.mark.parametrize("tokens, keys, length", [(7, 7, 7), (150, 150, 9), (4, 9, 12), (9, 4, 3)])
def test_it_equals_torchs_attention_with_a_mask_built_in_loops_with_gradients(tokens, keys, length, implementation):
    rule, (q, k, v) = attention(length, implementation=implementation), heads(tokens=tokens, keys=keys)
    b = rule.bias.detach().clone().requires_grad_()
    at = torch.zeros(tokens, keys, dtype=torch.long)
    for n in range(tokens):
        for m in range(keys):
            at[n, m] = min(max(m - n - (keys - tokens), 1 - length), length - 1) + length - 1
    mask, bias = torch.rand(2, 1, tokens, keys) < 0.8, torch.randn(keys, dtype=torch.float64)
    mask[..., 0] = True
    added = (b[:, at] + bias).expand(2, -1, -1, -1).masked_fill(~mask, float("-inf"))
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=added)
    o = rule(q, k, v, Side(mask=mask, bias=bias))
    torch.testing.assert_close(o, expected, rtol=0, atol=1e-10)
    probe = torch.randn_like(o)
    (o * probe).sum().backward()
    (expected * probe).sum().backward()
    torch.testing.assert_close(rule.bias.grad, b.grad, rtol=0, atol=1e-10)


def test_a_table_of_zeros_is_softmax_attention():
    rule, (q, k, v) = attention(), heads()
    nn.init.zeros_(rule.bias)
    for side in (Side(), Side(causal=True), Side(lengths=torch.tensor([7, 3]))):
        torch.testing.assert_close(rule(q, k, v, side), SoftmaxAttention()(q, k, v, side), rtol=0, atol=1e-12)


def test_a_far_lower_number_for_every_offset_but_one_reads_the_token_at_that_offset():
    rule, (q, k, v) = attention(), heads()
    with torch.no_grad():
        rule.bias.fill_(-1e4)
        rule.bias[:, 8 - 2] = 0.0
    torch.testing.assert_close(rule(q, k, v)[:, :, 2:], v[:, :, :-2], rtol=0, atol=1e-12)


def test_sequences_of_a_packed_batch_start_their_offsets_anew():
    rule, (q, k, v) = attention(), heads(rows=1, tokens=12)
    packed = rule(q, k, v, Side(cu_seqlens=torch.tensor([0, 5, 12])))
    for span in (slice(0, 5), slice(5, 12)):
        alone = rule(*(t[:, :, span] for t in (q, k, v)))
        torch.testing.assert_close(packed[:, :, span], alone, rtol=0, atol=1e-12)


def test_a_single_causal_query_is_the_last_row_of_all():
    rule, (q, k, v), side = attention(), heads(tokens=20), Side(causal=True)
    torch.testing.assert_close(rule(q[:, :, -1:], k, v, side), rule(q, k, v, side)[:, :, -1:], rtol=0, atol=1e-12)


def test_a_table_holds_two_l_minus_one_numbers_a_head():
    assert [p.numel() for p in RelativeBiasAttention(heads=12, length=128).parameters()] == [12 * 255]


def test_wrong_sizes_and_a_memory_raise():
    with pytest.raises(ValueError, match="length is a number of tokens, at least 1, not 0"):
        RelativeBiasAttention(heads=2, length=0)
    with pytest.raises(ValueError, match="heads is 3, and q has 2"):
        RelativeBiasAttention(heads=3)(*heads())
    with pytest.raises(ValueError, match="'memory' is set and not supported"):
        attention()(*heads(), Side(memory=Tokens(torch.randn(2, 5, 8))))


@pytest.mark.parametrize("name", ["mask", "bias"])
def test_a_mask_or_bias_on_a_packed_batch_is_refused(name):
    side = Side(cu_seqlens=torch.tensor([0, 3, 7])).replace(**{name: torch.ones(7, 7).to(torch.bool)})
    with pytest.raises(ValueError, match="no mask, no bias"):
        attention()(*heads(rows=1), side)
