"""Linear attention: its equation, its state, and an installed causal one."""

import pytest
import torch
import torch.nn as nn
from torch import Tensor

from unimodal.attention.linear import LinearAttention
from unimodal.kernels.linear_attention import linear_attention
from unimodal.kernels.linear_rule import LinearRule
from unimodal.multiply_adds import multiply_adds
from unimodal.side import Side
from unimodal.tokens import Tokens

PHI = {
    "elu_plus_one": lambda x: x + 1 if x > 0 else torch.exp(x),
    "relu": lambda x: x.clamp(min=0),
    "elu": lambda x: x if x > 0 else torch.exp(x) - 1,
}


def heads(rows=2, tokens=7, keys=None, groups=2) -> list[Tensor]:
    sizes = ((2, tokens), (groups, keys or tokens), (groups, keys or tokens))
    return [torch.randn(rows, h, n, 4, dtype=torch.float64) for h, n in sizes]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("features, normalised", [("elu_plus_one", True), ("relu", True), ("elu", False)])
def test_it_equals_the_equation(features, normalised, causal):
    q, k, v = heads(tokens=5, keys=7, groups=1)
    found = LinearAttention(features=features, normalised=normalised, eps=0.1)(q, k, v, Side(causal=causal))

    def phi(row: Tensor) -> Tensor:
        return torch.stack([PHI[features](x) for x in row])

    for b in range(2):
        for h in range(2):
            for n in range(5):
                seen = range(n + 3) if causal else range(7)
                weights = [phi(q[b, h, n]) @ phi(k[b, 0, m]) for m in seen]
                value = sum(w * v[b, 0, m] for w, m in zip(weights, seen, strict=True))
                expected = value / (sum(weights) + 0.1) if normalised else value
                torch.testing.assert_close(found[b, h, n], expected, rtol=0, atol=1e-12)


def test_without_eps_weights_sum_to_one_and_equal_values_come_back():
    q, k, v = heads()
    v = v[:, :, :1].expand_as(v)
    torch.testing.assert_close(LinearAttention(eps=0.0)(q, k, v), v, rtol=0, atol=1e-12)


def test_token_by_token_it_equals_the_whole_and_its_state_does_not_grow():
    rule, (q, k, v) = LinearAttention(), heads(tokens=70)
    whole, state, steps = rule(q, k, v, Side(causal=True)), None, []
    for n in range(70):
        at = slice(n, n + 1)
        o, state = rule.advance(q[:, :, at], k[:, :, at], v[:, :, at], state)
        assert state.shape == (2, 2, 4, 5)
        steps.append(o)
    torch.testing.assert_close(torch.cat(steps, 2), whole, rtol=0, atol=1e-12)


def test_the_causal_sums_with_decay_are_those_of_an_installed_lightning_attention():
    """MiniMax in transformers: silu of the projections, decays exp(-slope), a norm and a gate that are taken off."""
    minimax = pytest.importorskip("transformers.models.minimax.modeling_minimax")
    config = minimax.MiniMaxConfig(
        hidden_size=32, num_attention_heads=4, head_dim=8, block_size=16, num_hidden_layers=2, hidden_act="silu"
    )
    theirs = minimax.MiniMaxLightningAttention(config, 0).double()
    theirs.norm, theirs.out_proj = nn.Identity(), nn.Identity()
    nn.init.zeros_(theirs.output_gate.weight)  # sigmoid(0): half of the output
    x = torch.randn(2, 50, 32, dtype=torch.float64)
    expected = 2.0 * theirs(x, position_embeddings=None, attention_mask=None)[0]
    fused = nn.functional.silu(theirs.qkv_proj(x)).unflatten(-1, (4, 24)).transpose(1, 2)
    q, k, v = fused.split(8, -1)
    found = linear_attention(q, k, v, LinearRule(causal=True), decay=-theirs.slope_rate.flatten())
    torch.testing.assert_close(found.transpose(1, 2).flatten(2), expected, rtol=0, atol=1e-5)  # their decays: float32


def test_four_times_the_tokens_cost_four_times_as_much():
    def cost(tokens: int) -> int:
        return multiply_adds(LinearAttention(), *torch.randn(3, 1, 1, tokens, 8))

    assert 0 < cost(4096) == 4 * cost(1024)


def test_features_that_do_not_exist_and_biases_raise():
    with pytest.raises(ValueError, match="features must be one of"):
        LinearAttention(features="cosine")
    with pytest.raises(ValueError, match="'bias' is set and not supported"):
        LinearAttention()(*heads(), Side(bias=torch.zeros(7)))
    with pytest.raises(ValueError, match="'memory' is set and not supported"):
        LinearAttention()(*heads(), Side(memory=Tokens(torch.zeros(1, 1, 1))))
    with pytest.raises(ValueError, match="no mask"):
        LinearAttention()(*heads(rows=1), Side(mask=torch.ones(7).bool(), cu_seqlens=torch.tensor([0, 7])))
