"""Universal relative attention: the equation, its limits, and places told that a softmax with a bias cannot tell."""

import pytest
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.attention.relative_bias import RelativeBiasAttention
from unimodal.attention.universal_relative import UniversalRelativeAttention
from unimodal.side import Side
from unimodal.tokens import Tokens

IMPLEMENTATIONS = ("reference", "require")


def heads(rows=2, tokens=7, keys=None):
    sizes = (tokens, keys or tokens, keys or tokens)
    return [torch.randn(rows, 2, n, 4, dtype=torch.float64) for n in sizes]


def attention(length=9, **kwargs) -> UniversalRelativeAttention:
    rule = UniversalRelativeAttention(heads=2, length=length, **kwargs).double()
    for table in rule.parameters():
        nn.init.normal_(table)
    return rule


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("tokens, keys, length", [(7, 7, 7), (7, 7, 3), (4, 9, 12), (9, 4, 12)])
def test_it_equals_the_equation_with_gradients(tokens, keys, length, causal, implementation):
    """Loops that build B and C from offsets; beyond ``length`` the outermost number counts."""
    rule, (q, k, v) = attention(length, implementation=implementation), heads(tokens=tokens, keys=keys)
    b, c = (table.detach().clone().requires_grad_() for table in (rule.bias, rule.gain))
    rows = []
    for r in range(2):
        for h in range(2):
            for n in range(tokens):
                offsets = [m - (n + keys - tokens) for m in range(keys)]
                seen = [m for m in range(keys) if not causal or offsets[m] <= 0]
                at = [min(max(d, 1 - length), length - 1) + length - 1 for d in offsets]
                exps = [torch.exp(q[r, h, n] @ k[r, h, m] / 2.0 + b[h, at[m]]) for m in seen]
                total = sum(exps, torch.zeros((), dtype=torch.float64))
                terms = [c[h, at[m]] * e / total * v[r, h, m] for m, e in zip(seen, exps, strict=True)]
                rows.append(sum(terms, torch.zeros(4, dtype=torch.float64)))
    expected = torch.stack(rows).reshape(2, 2, tokens, 4)
    o = rule(q, k, v, Side(causal=causal))
    torch.testing.assert_close(o, expected, rtol=0, atol=1e-10)
    probe = torch.randn_like(o)
    (o * probe).sum().backward()
    (expected * probe).sum().backward()
    for learned, oracle in ((rule.bias, b), (rule.gain, c)):
        torch.testing.assert_close(learned.grad, oracle.grad, rtol=0, atol=1e-10)


def test_with_a_gain_of_one_it_is_a_relative_bias_and_torchs_attention_with_that_mask():
    rule, (q, k, v) = UniversalRelativeAttention(heads=2, length=9).double(), heads()
    assert bool((rule.gain == 1.0).all())
    plain = RelativeBiasAttention(heads=2, length=9).double()
    plain.load_state_dict({"bias": rule.bias})
    torch.testing.assert_close(rule(q, k, v), plain(q, k, v), rtol=0, atol=1e-12)
    offset = torch.arange(7) - torch.arange(7)[:, None] + 8
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=rule.bias[:, offset][None])
    torch.testing.assert_close(rule(q, k, v), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_equal_tokens_get_equal_values_from_a_relative_bias_and_places_from_the_gain(implementation):
    rule = attention(64, implementation=implementation)
    constant = [torch.randn(1, 2, 1, 4, dtype=torch.float64).expand(1, 2, 40, 4) for _ in range(3)]
    with torch.no_grad():
        told = rule(*constant)
        rule.gain.fill_(1.0)
        lost = rule(*constant)

    def spread(o: Tensor) -> Tensor:
        return (o - o[:, :, :1]).abs().max()

    assert spread(lost) < 1e-12
    assert spread(told) > 1e-2


@pytest.mark.parametrize("side", [Side(lengths=torch.tensor([7, 3])), Side(mask=torch.arange(7) < 3)])
def test_hidden_keys_have_neither_weight_nor_share_in_the_normaliser(side):
    rule, (q, k, v) = attention(), heads()
    hidden = rule(q, k, v, side)[1:, :, :3]
    torch.testing.assert_close(hidden, rule(*(t[1:, :, :3] for t in (q, k, v))), rtol=0, atol=1e-12)


def test_sequences_of_a_packed_batch_start_their_offsets_anew():
    rule, (q, k, v) = attention(), heads(rows=1, tokens=12)
    packed = rule(q, k, v, Side(cu_seqlens=torch.tensor([0, 5, 12])))
    for span in (slice(0, 5), slice(5, 12)):
        alone = rule(*(t[:, :, span] for t in (q, k, v)))
        torch.testing.assert_close(packed[:, :, span], alone, rtol=0, atol=1e-12)


def test_a_table_holds_two_l_minus_one_numbers_a_head():
    rule = UniversalRelativeAttention(heads=12, length=128)
    assert [p.numel() for p in rule.parameters()] == [12 * 255, 12 * 255]


def test_two_layers_learn_the_places_of_tokens_which_a_relative_bias_does_not():
    """The paper's position identification, small: the target of token i is i, whatever the tokens are."""

    def accuracy(rule_of) -> float:
        torch.manual_seed(0)
        layers, embed, read = [rule_of().float() for _ in range(2)], nn.Embedding(30, 32), nn.Linear(32, 16)
        maps = nn.ModuleList(nn.Linear(32, 96) for _ in range(2))
        weights = [p for m in (*layers, embed, read, maps) for p in m.parameters()]
        optimiser = torch.optim.Adam(weights, lr=5e-3)
        places = torch.arange(16).expand(16, 16)

        def logits() -> Tensor:
            x = embed(torch.randint(30, (16, 16)))
            for layer, project in zip(layers, maps, strict=True):
                q, k, v = (t.unflatten(-1, (2, -1)).transpose(1, 2) for t in project(x).chunk(3, -1))
                x = x + layer(q, k, v).transpose(1, 2).flatten(2)
            return read(x)

        for _ in range(200):
            optimiser.zero_grad()
            F.cross_entropy(logits().flatten(0, 1), places.flatten()).backward()
            optimiser.step()
        with torch.no_grad():
            return float((logits().argmax(-1) == places).float().mean())

    assert accuracy(lambda: RelativeBiasAttention(heads=2, length=16)) < 0.25
    assert accuracy(lambda: UniversalRelativeAttention(heads=2, length=16)) > 0.8


def test_wrong_sizes_and_a_memory_raise():
    with pytest.raises(ValueError, match="length is a number of tokens, at least 1, not 0"):
        UniversalRelativeAttention(heads=2, length=0)
    with pytest.raises(ValueError, match="heads is 3, and q has 2"):
        UniversalRelativeAttention(heads=3)(*heads())
    with pytest.raises(ValueError, match="'memory' is set and not supported"):
        attention()(*heads(), Side(memory=Tokens(torch.randn(2, 5, 8))))


@pytest.mark.parametrize("name", ["mask", "bias"])
def test_a_mask_or_bias_on_a_packed_batch_is_refused(name):
    side = Side(cu_seqlens=torch.tensor([0, 3, 7])).replace(**{name: torch.ones(7, 7).to(torch.bool)})
    with pytest.raises(ValueError, match="no mask, no bias"):
        attention()(*heads(rows=1), side)
