"""The cross block: its equation, torch's and transformers' layers on the same weights, and what it refuses."""

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F

from unimodal.cross_block import CrossBlock
from unimodal.ffns.plain import Plain
from unimodal.part import Part
from unimodal.side import Side
from unimodal.tokens import Tokens


def test_it_and_every_gradient_equal_the_layer_of_torch():
    block, x, m = CrossBlock(8, 12, heads=2).double(), torch.randn(2, 5, 8).double(), torch.randn(2, 7, 12).double()
    theirs = nn.MultiheadAttention(8, 2, kdim=12, vdim=12, batch_first=True).double()
    with torch.no_grad():
        theirs.q_proj_weight.copy_(block.to_q.weight)
        for weight, ours in zip((theirs.k_proj_weight, theirs.v_proj_weight), block.to_kv.weight.chunk(2), strict=True):
            weight.copy_(ours)
        theirs.in_proj_bias.copy_(torch.cat([block.to_q.bias, block.to_kv.bias]))
        theirs.out_proj.load_state_dict(block.to_out.state_dict())
    x.requires_grad_()
    m.requires_grad_()
    norm = (F.layer_norm(x, (8,), eps=1e-6), F.layer_norm(m, (12,), eps=1e-6))
    expected, y = x + theirs(norm[0], norm[1], norm[1])[0], block(x, Side(memory=Tokens(m)))
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
    into = torch.randn_like(y)
    ours = torch.autograd.grad(y, [x, m, block.to_q.weight, block.to_out.weight, block.to_kv.weight], into)
    weights = [theirs.q_proj_weight, theirs.out_proj.weight, theirs.k_proj_weight, theirs.v_proj_weight]
    *same, keys, values = torch.autograd.grad(expected, [x, m, *weights], into)
    for one, other in zip(ours, [*same, torch.cat([keys, values])], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


def test_with_a_feed_forward_it_is_the_cross_layer_of_a_perceiver():
    perceiver = pytest.importorskip("transformers.models.perceiver.modeling_perceiver")
    config = pytest.importorskip("transformers").PerceiverConfig(attention_probs_dropout_prob=0.0)
    theirs = perceiver.PerceiverLayer(
        config, is_cross_attention=True, qk_channels=8, v_channels=8, num_heads=2, q_dim=8, kv_dim=12, widening_factor=4
    ).eval()
    block = CrossBlock(8, 12, heads=2, ffn=Part(Plain)).eval()
    held, mlp = theirs.attention.self, theirs.mlp
    pairs = [(block.norm_tokens, held.layernorm1), (block.norm_memory, held.layernorm2), (block.to_q, held.query)]
    pairs += [(block.norm_ffn, theirs.layernorm), (block.to_out, theirs.attention.output.dense)]
    assert isinstance(block.ffn, Plain)
    pairs += [(block.ffn.to_hidden, mlp.dense1), (block.ffn.to_out, mlp.dense2)]
    with torch.no_grad():
        for ours, other in pairs:
            assert ours is not None
            nn.init.normal_(other.weight, std=0.5)
            ours.load_state_dict(other.state_dict())
        block.to_kv.weight.copy_(torch.cat([held.key.weight, held.value.weight]))
        block.to_kv.bias.copy_(torch.cat([held.key.bias, held.value.bias]))
    for norm in (block.norm_tokens, block.norm_memory, block.norm_ffn):
        norm.eps = 1e-5  # type: ignore
    x, m = torch.randn(2, 5, 8), torch.randn(2, 7, 12)
    torch.testing.assert_close(block(x, Side(memory=Tokens(m))), theirs(x, inputs=m)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dim, source, width", [(8, 12, 8), (12, 8, 8), (8, 8, 8)])
def test_attention_has_the_smaller_width_unless_told(dim, source, width):
    assert CrossBlock(dim, source, heads=2).to_q.out_features == width
    assert CrossBlock(dim, source, heads=2, width=6).to_kv.out_features == 12


def test_padding_of_the_memory_has_no_influence_and_masks_choose_what_is_read():
    block, x, m = CrossBlock(8, 12, heads=2), torch.randn(2, 5, 8), torch.randn(2, 7, 12)
    side = Side(lengths=torch.tensor([7, 3]))
    noisy = m.clone()
    noisy[1, 3:] += 10.0
    before, after = (block(x, Side(memory=Tokens(held, side))) for held in (m, noisy))
    assert torch.equal(before, after)
    masked = block(x, Side(memory=Tokens(m), mask=(torch.arange(7) < side.lengths[:, None])[:, None, None]))  # type: ignore
    torch.testing.assert_close(masked, before, rtol=0, atol=1e-6)


def test_a_memory_without_tokens_leaves_the_bias_of_the_output_map():
    block, x = CrossBlock(8, 12, heads=2), torch.randn(2, 5, 8)
    empty = Side(memory=Tokens(torch.randn(2, 3, 12), Side(lengths=torch.tensor([0, 3]))))
    torch.testing.assert_close(block(x, empty)[0], x[0] + block.to_out.bias)


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="attention width 8 is not a multiple of heads 3"):
        CrossBlock(8, 12, heads=3)


def test_nothing_to_read_is_refused():
    with pytest.raises(ValueError, match="needs a memory"):
        CrossBlock(8, 12, heads=2)(torch.randn(1, 3, 8))


@pytest.mark.parametrize("side", [Side(causal=True), Side(cu_seqlens=torch.tensor([0, 3]))])
def test_an_order_or_a_packed_layout_is_refused(side):
    memory = Tokens(torch.randn(1, 4, 12))
    with pytest.raises(ValueError, match="causal|cu_seqlens"):
        CrossBlock(8, 12, heads=2)(torch.randn(1, 3, 8), side.replace(memory=memory))


def test_a_memory_with_an_order_is_refused():
    memory = Tokens(torch.randn(1, 4, 12), Side(causal=True))
    with pytest.raises(ValueError, match="causal"):
        CrossBlock(8, 12, heads=2)(torch.randn(1, 3, 8), Side(memory=memory))
