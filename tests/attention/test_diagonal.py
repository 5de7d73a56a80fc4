"""Diagonal attention: its equation, torch's attention with a mask of blocks, and borders that nothing crosses."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from unimodal.attention.diagonal import DiagonalAttention
from unimodal.attention.linear import LinearAttention
from unimodal.side import Side
from unimodal.tokens import Tokens

IMPLEMENTATIONS = ("auto", "reference")


def heads(rows=2, tokens=7, groups=2) -> list[Tensor]:
    return [torch.randn(rows, h, tokens, 4, dtype=torch.float64) for h in (2, groups, groups)]


def blocks(tokens: int, block: int) -> Tensor:
    index = torch.arange(tokens) // block
    return index[:, None] == index


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("weights", ["softmax", "relu"])
@pytest.mark.parametrize("tokens, block", [(1, 4), (3, 4), (4, 4), (5, 4), (8, 4), (11, 4), (5, 1)])
def test_it_equals_the_equation_with_gradients(tokens, block, weights, causal, implementation):
    q, k, v = (t.requires_grad_() for t in heads(tokens=tokens, groups=1))
    rows = []
    for b in range(2):
        for h in range(2):
            for n in range(tokens):
                seen = [m for m in range(tokens) if m // block == n // block and (m <= n or not causal)]
                scores = torch.stack([q[b, h, n] @ k[b, 0, m] / 2.0 for m in seen])
                w = scores.exp() / scores.exp().sum() if weights == "softmax" else scores * (scores > 0)
                rows.append(sum(w[i] * v[b, 0, m] for i, m in enumerate(seen)))
    expected = torch.stack(rows).reshape(2, 2, tokens, 4)
    found = DiagonalAttention(block=block, weights=weights, implementation=implementation)(q, k, v, Side(causal=causal))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-11)
    probe = torch.randn_like(found)
    ours, theirs = (torch.autograd.grad(o, (q, k, v), probe) for o in (found, expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


@pytest.mark.parametrize("tokens", [63, 64, 65, 100, 257])
@pytest.mark.parametrize("causal", [False, True])
def test_with_softmax_it_is_torchs_attention_with_a_mask_of_blocks(tokens, causal):
    q, k, v = heads(tokens=tokens)
    mask = blocks(tokens, 64) & (torch.ones(tokens, tokens).tril().bool() if causal else True)
    found = DiagonalAttention(block=64)(q, k, v, Side(causal=causal))
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("weights", ["softmax", "relu"])
def test_a_block_as_long_as_the_sequence_is_full_attention_and_one_token_keeps_its_value(weights):
    q, k, v = heads(tokens=9)
    whole = DiagonalAttention(block=9, weights=weights)(q, k, v)
    torch.testing.assert_close(DiagonalAttention(block=100, weights=weights)(q, k, v), whole, rtol=0, atol=1e-12)
    if weights == "softmax":
        torch.testing.assert_close(DiagonalAttention(block=1)(q, k, v), v, rtol=0, atol=1e-12)


@pytest.mark.parametrize("weights", ["softmax", "relu"])
def test_nothing_crosses_a_border_of_blocks(weights):
    rule, (q, k, v) = DiagonalAttention(block=4, weights=weights), heads(tokens=11)
    before = rule(q, k, v)
    for place in range(11):
        far = [t.index_fill(2, torch.tensor([place]), 1e3) for t in (k, v)]
        after, own = rule(q, *far), torch.arange(11) // 4 == place // 4
        assert torch.equal(before[:, :, ~own], after[:, :, ~own])
        assert not torch.equal(before[:, :, own], after[:, :, own])


@pytest.mark.parametrize("weights", ["softmax", "relu"])
@pytest.mark.parametrize("causal", [False, True])
def test_padded_and_packed_sequences_count_their_blocks_from_their_own_start(weights, causal):
    rule, sizes = DiagonalAttention(block=4, weights=weights), [11, 6, 0, 1]
    q, k, v = heads(rows=4, tokens=11, groups=1)
    alone = [rule(*(t[i : i + 1, :, :n] for t in (q, k, v)), Side(causal=causal))[0] for i, n in enumerate(sizes)]
    padded = rule(q, k, v, Side(causal=causal, lengths=torch.tensor(sizes)))
    packed = [torch.cat([t[i, :, :n] for i, n in enumerate(sizes)], 1)[None] for t in (q, k, v)]
    cu = torch.tensor([0, 11, 17, 17, 18], dtype=torch.int32)
    joined = rule(*packed, Side(causal=causal, cu_seqlens=cu))[0].split(sizes, 1)
    for i, n in enumerate(sizes):
        torch.testing.assert_close(padded[i, :, :n], alone[i], rtol=0, atol=1e-12)
        torch.testing.assert_close(joined[i], alone[i], rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(11,), (11, 11), (11, 1), (2, 1, 1, 11), (1, 2, 11, 11), (2, 2, 11, 11)])
def test_masks_and_biases_of_pairs_are_cut_to_the_blocks(shape):
    rule, (q, k, v) = DiagonalAttention(block=4), heads(tokens=11)
    mask, bias = torch.rand(shape) < 0.6, torch.randn(shape, dtype=torch.float64)
    seen = mask & blocks(11, 4)
    expected = F.scaled_dot_product_attention(
        q, k, v, attn_mask=bias.expand(2, 2, 11, 11).masked_fill(~seen, float("-inf"))
    ).masked_fill(~seen.expand(2, 2, 11, 11).any(-1, keepdim=True), 0.0)
    torch.testing.assert_close(rule(q, k, v, Side(mask=mask, bias=bias)), expected, rtol=0, atol=1e-12)


def test_all_weight_lies_within_a_block_which_that_of_linear_attention_does_not():
    """Locality: the share of a token's weight on its own block, from values that say which block they are of."""
    q, k, _ = torch.randn(3, 1, 2, 256, 16)
    index = torch.arange(256) // 64
    of_block = F.one_hot(index, 4).float().expand(1, 2, 256, 4)
    shares = [
        rule(q, k, of_block)[0, :, torch.arange(256), index].mean()
        for rule in (DiagonalAttention(block=64), LinearAttention())
    ]
    assert shares[0] == pytest.approx(1.0, abs=1e-5)
    assert shares[1] < 0.3  # of weights spread evenly over four blocks: a quarter


def test_what_does_not_fit_raises():
    with pytest.raises(ValueError, match="block is a number of tokens, at least 1, not 0"):
        DiagonalAttention(block=0)
    with pytest.raises(ValueError, match="weights must be one of"):
        DiagonalAttention(weights="cosine")
    q, k, v = heads()
    with pytest.raises(ValueError, match="as many keys as queries, not 7 and 3"):
        DiagonalAttention()(q[:, :, :3], k, v)
    with pytest.raises(ValueError, match="'memory' is set and not supported"):
        DiagonalAttention()(q, k, v, Side(memory=Tokens(torch.zeros(1, 1, 1))))
    packed = Side(cu_seqlens=torch.tensor([0, 7]), mask=torch.ones(7).bool())
    with pytest.raises(ValueError, match="no mask, no bias"):
        DiagonalAttention(block=3)(q[:1], k[:1], v[:1], packed)
