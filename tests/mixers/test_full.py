"""Full attention over all tokens: its equation, torch's own layer on the same weights, and what it refuses."""

from typing import Any

import pytest
import torch
import torch.nn as nn

from unimodal.attention.sigmoid import SigmoidAttention
from unimodal.attention.softmax import SoftmaxAttention
from unimodal.mixers.full import Full
from unimodal.norms.rms import RMSNorm
from unimodal.part import Part
from unimodal.positions.rotary import Rotary
from unimodal.positions.sincos import SinCos
from unimodal.side import Side
from unimodal.tokens import Tokens


@pytest.mark.parametrize("tokens", [1, 63])
@pytest.mark.parametrize("key_heads", [1, 2, 4])
def test_it_equals_the_equation_with_grouped_heads(tokens, key_heads):
    mixer, x = Full(8, heads=4, key_heads=key_heads, head_width=3).double(), torch.randn(2, tokens, 8).double()
    y = mixer(x)
    weight_q, weight_k, weight_v = mixer.to_qkv.weight.split(mixer.sizes)
    bias_q, bias_k, bias_v = mixer.to_qkv.bias.split(mixer.sizes)
    for b in range(2):
        heads = []
        for h in range(4):
            of_q, of_k = slice(3 * h, 3 * h + 3), slice(3 * (h * key_heads // 4), 3 * (h * key_heads // 4) + 3)
            q, k, v = (
                x[b] @ weight[part].T + bias[part]
                for weight, bias, part in ((weight_q, bias_q, of_q), (weight_k, bias_k, of_k), (weight_v, bias_v, of_k))
            )
            gate = (q @ k.T / 3**0.5).exp()
            heads.append(gate / gate.sum(1, keepdim=True) @ v)
        expected = torch.cat(heads, 1) @ mixer.to_out.weight.T + mixer.to_out.bias
        torch.testing.assert_close(y[b], expected, rtol=0, atol=1e-12)


def torch_layer(mixer: Full, dim: int, heads: int) -> nn.MultiheadAttention:
    layer = nn.MultiheadAttention(dim, heads, batch_first=True).to(mixer.to_qkv.weight.dtype)
    with torch.no_grad():
        layer.in_proj_weight.copy_(mixer.to_qkv.weight)
        layer.in_proj_bias.copy_(mixer.to_qkv.bias)
        layer.out_proj.load_state_dict(mixer.to_out.state_dict())
    return layer


@pytest.mark.parity
@pytest.mark.parametrize("tokens, keys", [(63, None), (63, 17), (1, 5)])
def test_self_and_cross_attention_equal_torch_on_the_same_weights_with_gradients(tokens, keys):
    mixer = Full(12, heads=3).double()
    layer, x = torch_layer(mixer, 12, 3), torch.randn(2, tokens, 12, dtype=torch.float64, requires_grad=True)
    context = x if keys is None else torch.randn(2, keys, 12, dtype=torch.float64, requires_grad=True)
    lengths = torch.tensor([context.shape[1], 1])
    padding = torch.arange(context.shape[1]) >= lengths[:, None]
    side = Side(lengths=lengths) if keys is None else Side(memory=Tokens(context, Side(lengths=lengths)))
    ours, theirs = mixer(x, side), layer(x, context, context, key_padding_mask=padding, need_weights=False)[0]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)
    inputs = (x,) if keys is None else (x, context)
    for a, b in zip(*(torch.autograd.grad(y.square().sum(), inputs) for y in (ours, theirs)), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-11)


@pytest.mark.parity
def test_causal_order_and_a_bias_equal_torch_on_the_same_weights():
    mixer, x = Full(12, heads=3).double(), torch.randn(2, 9, 12, dtype=torch.float64)
    layer = torch_layer(mixer, 12, 3)
    later = torch.ones(9, 9, dtype=torch.bool).triu(1)
    bias = torch.randn(9, 9, dtype=torch.float64)
    theirs = layer(x, x, x, attn_mask=bias.masked_fill(later, float("-inf")), need_weights=False)[0]
    torch.testing.assert_close(mixer(x, Side(causal=True, bias=bias)), theirs, rtol=0, atol=1e-12)


def test_memory_of_the_tokens_themselves_is_self_attention():
    mixer, x = Full(12, heads=3), torch.randn(2, 9, 12)
    torch.testing.assert_close(mixer(x, Side(memory=Tokens(x))), mixer(x))
    blank = Full(12, heads=3, bias=False)
    torch.testing.assert_close(blank(x, Side(memory=Tokens(x))), blank(x))


def test_the_padding_of_the_queries_does_not_hide_the_memory():
    mixer, x, memory = Full(12, heads=3), torch.randn(2, 4, 12), Tokens(torch.randn(2, 9, 12))
    padded = mixer(x, Side(memory=memory, lengths=torch.tensor([4, 2])))
    assert torch.equal(padded, mixer(x, Side(memory=memory)))


def test_the_norm_acts_on_queries_and_keys_over_the_head_width():
    mixer, x = Full(12, heads=3, norm=Part(RMSNorm), bias=False), torch.randn(2, 9, 12)
    assert isinstance(mixer.norm_q, RMSNorm)
    assert mixer.norm_q.weight.shape == (4,)
    before = mixer(x)
    with torch.no_grad():
        mixer.to_qkv.weight[: 2 * 12] *= 7.0  # scales of queries and keys are normalised away
    torch.testing.assert_close(mixer(x), before, rtol=1e-4, atol=1e-5)


def test_rotary_positions_make_the_order_of_tokens_matter_and_shifts_not():
    mixer, x = Full(24, heads=3, position=Part(Rotary)).double(), torch.randn(1, 6, 24, dtype=torch.float64)
    place = torch.tensor([[[0.0], [1.0], [2.0], [3.0], [4.0], [7.0]]])
    y = mixer(x, Side(positions=place))
    torch.testing.assert_close(mixer(x, Side(positions=place + 5.0)), y, rtol=0, atol=1e-6)  # angles are float32
    turned = mixer(x.flip(1), Side(positions=place)).flip(1)
    assert (turned - y).abs().max() > 1e-3
    plain = Full(24, heads=3).double()
    torch.testing.assert_close(plain(x.flip(1)).flip(1), plain(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"heads": 5}, "dim 12 is not a multiple of heads 5; give head_width"),
        ({"heads": 4, "key_heads": 3}, "heads 4 is not a multiple of key_heads 3"),
        ({"heads": 3, "position": Part(SinCos)}, "position SinCos acts on tokens, not on heads"),
    ],
)
def test_sizes_and_parts_that_do_not_fit_raise(settings, message):
    with pytest.raises(ValueError, match=message):
        Full(12, **settings)


def test_a_memory_with_another_constraint_is_refused_by_name():
    x, memory = torch.randn(1, 4, 24), Tokens(torch.randn(1, 9, 24))
    mixer = Full(24, heads=3)
    with pytest.raises(ValueError, match="'causal' is set and not supported"):
        mixer(x, Side(memory=memory, causal=True))
    with pytest.raises(ValueError, match="'cu_seqlens' is set and not supported"):
        mixer(x, Side(memory=memory, cu_seqlens=torch.tensor([0, 4])))
    with pytest.raises(ValueError, match="'mask' is set and not supported"):
        mixer(x, Side(memory=memory.replace(mask=torch.ones(9, dtype=torch.bool))))
    with pytest.raises(ValueError, match=r"mask \(4, 4\) does not broadcast"):
        mixer(x, Side(memory=memory, mask=torch.ones(4, 4, dtype=torch.bool)))
    with pytest.raises(ValueError, match="no meaning across to a memory"):
        Full(24, heads=3, position=Part(Rotary))(x, Side(memory=memory, grid=(4,)))


def test_maps_in_front_of_queries_and_of_keys_and_behind_the_output_go_in():
    torch.manual_seed(0)
    (a, b), x, m = torch.randn(2, 8, dtype=torch.float64), torch.randn(2, 5, 8).double(), torch.randn(2, 3, 8).double()
    for bias in (True, False):
        mixer: Any = Full(8, heads=2, bias=bias).double()
        across, theirs = Side(memory=Tokens(m)), Side(memory=Tokens(a * m + b))
        torch.testing.assert_close(mixer.queried(a, b)(x, across), mixer(a * x + b, across))
        torch.testing.assert_close(mixer.keyed(a, b)(x, across), mixer(x, theirs))
        torch.testing.assert_close(mixer.preceded(a, b)(x), mixer(a * x + b))
        torch.testing.assert_close(mixer.scaled(a, b)(x), a * mixer(x) + b)


def test_a_memory_is_refused_where_the_norm_in_front_of_the_tokens_was_folded():
    made = Full(8, heads=2).preceded(torch.ones(8).double(), torch.zeros(8).double())
    with pytest.raises(ValueError, match="which the tokens of a memory did not pass"):
        made(torch.zeros(1, 2, 8), Side(memory=Tokens(torch.zeros(1, 3, 8))))


@pytest.mark.parametrize("key_heads", [1, 2, 4])
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"attention": Part(SoftmaxAttention, scale=0.3)}])
def test_the_first_tokens_weights_are_those_that_its_output_is_made_with(key_heads, options):
    mixer = Full(8, heads=4, key_heads=key_heads, head_width=3, **options).double()
    x = torch.randn(2, 5, 8).double()
    with torch.no_grad():
        q, k, _ = (t.unflatten(-1, (-1, 3)).transpose(1, 2) for t in mixer.to_qkv(x).split(mixer.sizes, -1))
        one_hot = torch.eye(5).double().expand(2, key_heads, 5, 5)
        made = mixer.attention(q, k, one_hot)[:, :, 0].mean(1)  # with one-hot values outputs are weights
    torch.testing.assert_close(mixer.first_weights(x), made, rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", [{"attention": Part(SigmoidAttention)}, {"norm": Part(RMSNorm)}])
def test_weights_of_the_first_token_of_another_rule_are_refused(options):
    with pytest.raises(ValueError, match="plain softmax, without norm or position on the heads"):
        Full(8, heads=2, **options).first_weights(torch.randn(1, 3, 8))
