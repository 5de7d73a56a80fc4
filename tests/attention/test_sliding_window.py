"""Sliding window: the equation, its limits, how far layers look, and GPT-Neo's local attention."""

import pytest
import torch
import torch.nn as nn
from torch import Tensor

from unimodal.attention.sliding_window import SlidingWindowAttention
from unimodal.attention.softmax import SoftmaxAttention
from unimodal.mixers.full import Full
from unimodal.part import Part
from unimodal.side import Side
from unimodal.testing import check_part
from unimodal.tokens import Tokens

IMPLEMENTATIONS = ("reference", "require")


def heads(rows=2, tokens=23, keys=None) -> list[Tensor]:
    sizes = (tokens, keys or tokens, keys or tokens)
    return [torch.randn(rows, 2, n, 4, dtype=torch.float64) for n in sizes]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [0, 1, 5])
@pytest.mark.parametrize("keys", [23, 40])
def test_it_equals_the_equation_with_gradients(keys, window, causal, implementation):
    rule, leaves = SlidingWindowAttention(window=window, implementation=implementation), heads(keys=keys)
    twins = [t.clone().requires_grad_() for t in leaves]
    leaves = [t.requires_grad_() for t in leaves]
    rows = []
    for r in range(2):
        for h in range(2):
            for n in range(23):
                place = n + keys - 23
                seen = [m for m in range(keys) if abs(m - place) <= window and (not causal or m <= place)]
                exps = [torch.exp(twins[0][r, h, n] @ twins[1][r, h, m] / 2.0) for m in seen]
                rows.append(sum(e * twins[2][r, h, m] for e, m in zip(exps, seen, strict=True)) / sum(exps))
    expected = torch.stack(rows).reshape(2, 2, 23, 4)
    o = rule(*leaves, Side(causal=causal))
    torch.testing.assert_close(o, expected, rtol=0, atol=1e-10)
    with torch.no_grad():
        torch.testing.assert_close(rule(*leaves, Side(causal=causal)), expected, rtol=0, atol=1e-10)
    probe = torch.randn_like(o)
    for y in (o, expected):
        (y * probe).sum().backward()
    for ours, oracle in zip(leaves, twins, strict=True):
        torch.testing.assert_close(ours.grad, oracle.grad, rtol=0, atol=1e-10)


@pytest.mark.parametrize("causal", [False, True])
def test_a_window_as_wide_as_the_sequence_is_full_attention(causal):
    side, leaves = Side(causal=causal), heads()
    full = SoftmaxAttention()(*leaves, side)
    torch.testing.assert_close(SlidingWindowAttention(window=22)(*leaves, side), full, rtol=0, atol=1e-12)
    assert not torch.allclose(SlidingWindowAttention(window=21)(*leaves, side), full)


@pytest.mark.parametrize("causal", [False, True])
def test_layers_look_as_far_as_windows_times_layers(causal):
    mixers = [Full(8, heads=2, attention=Part(SlidingWindowAttention, window=3)).double() for _ in range(3)]
    x = torch.randn(1, 40, 8, dtype=torch.float64, requires_grad=True)
    y = x
    for mixer in mixers:
        y = y + mixer(y, Side(causal=causal))
    y[0, 20].sum().backward()
    assert x.grad is not None
    reached = x.grad[0].abs().sum(-1).nonzero().flatten().tolist()
    assert reached == list(range(11, 21 if causal else 30))


@pytest.mark.parity
def test_it_is_the_local_attention_of_gpt_neo_whose_window_counts_the_query():
    gpt_neo = pytest.importorskip("transformers.models.gpt_neo.modeling_gpt_neo")
    config = gpt_neo.GPTNeoConfig(
        hidden_size=8, num_heads=2, num_layers=1, attention_types=[[["local"], 1]], window_size=5, attention_dropout=0.0
    )
    theirs = gpt_neo.GPTNeoSelfAttention(config, "local", layer_id=0).double().eval()
    ours = Full(8, heads=2, attention=Part(SlidingWindowAttention, window=4, scale=1.0)).double()
    with torch.no_grad():
        maps = (theirs.q_proj, theirs.k_proj, theirs.v_proj)
        ours.to_qkv.weight.copy_(torch.cat([m.weight for m in maps]))
        nn.init.zeros_(ours.to_qkv.bias)
        ours.to_out.load_state_dict(theirs.out_proj.state_dict())
        x = torch.randn(2, 30, 8, dtype=torch.float64)
        torch.testing.assert_close(ours(x, Side(causal=True)), theirs(x)[0], rtol=0, atol=1e-6)  # its logits: float32


@pytest.mark.parametrize("window", [1, 3])
def test_narrow_windows_keep_the_contracts_of_the_family(window):
    check_part("attention", SlidingWindowAttention, window=window)


@pytest.mark.parametrize("causal", [False, True])
def test_sequences_of_a_pack_and_rows_with_padding_equal_each_one_alone(causal):
    rule, leaves = SlidingWindowAttention(window=3), heads(rows=1, tokens=30)
    packed = rule(*leaves, Side(causal=causal, cu_seqlens=torch.tensor([0, 11, 30])))
    padded = rule(*(t[:, :, :19] for t in leaves), Side(causal=causal, lengths=torch.tensor([11])))
    for span in (slice(0, 11), slice(11, 30)):
        alone = rule(*(t[:, :, span] for t in leaves), Side(causal=causal))
        torch.testing.assert_close(packed[:, :, span], alone, rtol=0, atol=1e-12)
    torch.testing.assert_close(padded[:, :, :11], packed[:, :, :11], rtol=0, atol=1e-12)


def test_wrong_windows_and_a_memory_raise():
    with pytest.raises(ValueError, match="window is a distance in tokens, at least 0, not -1"):
        SlidingWindowAttention(window=-1)
    with pytest.raises(ValueError, match="'memory' is set and not supported"):
        SlidingWindowAttention()(*heads(), Side(memory=Tokens(torch.randn(2, 5, 8))))


@pytest.mark.parametrize("name", ["mask", "bias"])
def test_a_mask_or_bias_on_a_packed_batch_is_refused(name):
    side = Side(cu_seqlens=torch.tensor([0, 3, 23])).replace(**{name: torch.ones(23, 23).to(torch.bool)})
    with pytest.raises(ValueError, match="no mask, no bias"):
        SlidingWindowAttention()(*heads(rows=1), side)
