"""Norm attention: its equation with one norm over all heads, its limits, and gradients that stay bounded."""

import pytest
import torch
import torch.nn as nn
from torch import Tensor

from unimodal.attention.diagonal import DiagonalAttention
from unimodal.attention.linear import LinearAttention
from unimodal.attention.norm_attention import NormAttention
from unimodal.part import Part
from unimodal.side import Side


def heads(rows=2, tokens=7) -> list[Tensor]:
    return [torch.randn(rows, 3, tokens, 4, dtype=torch.float64) for _ in range(3)]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("norm", ["rms", "layer"])
def test_it_equals_the_equation(norm, causal):
    rule, (q, k, v) = NormAttention(norm=norm, width=12, eps=0.01).double(), heads()
    for parameter in rule.parameters():
        nn.init.normal_(parameter)
    weight, bias = rule.weight, rule.bias if norm == "layer" else torch.zeros(12)
    assert weight is not None
    assert bias is not None
    found = rule(q, k, v, Side(causal=causal))
    phi_q, phi_k = (torch.where(x > 0, x, x.exp() - 1) for x in (q, k))
    for b in range(2):
        for n in range(7):
            seen = range(n + 1) if causal else range(7)
            pairs = [[(phi_q[b, h, n] @ phi_k[b, h, m]) * v[b, h, m] for m in seen] for h in range(3)]
            o = torch.cat([torch.stack(of_head).sum(0) for of_head in pairs])  # heads side by side: one norm over all
            o = o - o.mean() if norm == "layer" else o
            o = o / (o.square().mean() + 0.01).sqrt() * weight + bias
            torch.testing.assert_close(torch.cat([found[b, h, n] for h in range(3)]), o, rtol=0, atol=1e-12)


def test_a_head_that_is_larger_than_the_others_stays_larger():
    q, k, v = heads()
    v[:, 0] *= 10.0
    plain, o = LinearAttention(features="elu", normalised=False)(q, k, v), NormAttention()(q, k, v)
    ratio = (plain / o)[..., :1]
    torch.testing.assert_close(plain, o * ratio[:, :1].expand_as(ratio), rtol=1e-9, atol=1e-9)
    assert o[:, 0].square().mean() > 10 * o[:, 1:].square().mean()


def test_one_token_has_unit_size_whatever_the_size_of_its_scores_is():
    q, k, v = heads()
    size = NormAttention(eps=0.0)(q * 1e-3, k, v).square().mean((1, 3))
    torch.testing.assert_close(size, torch.ones_like(size), rtol=0, atol=1e-9)


def test_a_learned_scale_is_contained_in_the_projection_behind_it():
    rule, (q, k, v), to_out = NormAttention(width=12).double(), heads(), nn.Linear(12, 5).double()
    weight = rule.weight
    assert weight is not None
    nn.init.normal_(weight)
    expected = to_out(rule(q, k, v).transpose(1, 2).flatten(2))
    folded = nn.functional.linear(
        NormAttention()(q, k, v).transpose(1, 2).flatten(2), to_out.weight * weight, to_out.bias
    )
    torch.testing.assert_close(folded, expected, rtol=0, atol=1e-12)


def test_step_by_step_and_in_pieces_it_equals_the_whole():
    rule, (q, k, v) = NormAttention(), heads(tokens=150)
    whole = rule(q, k, v, Side(causal=True))
    for pieces in ((1,) * 150, (70, 1, 79)):
        state, found = None, []
        for x, y, z in zip(*(t.split(pieces, 2) for t in (q, k, v)), strict=True):
            o, state = rule.advance(x, y, z, state)
            assert state.shape == (2, 3, 4, 4)
            found.append(o)
        torch.testing.assert_close(torch.cat(found, 2), whole, rtol=0, atol=1e-11)


def steepest(score: float, normed: bool, eps: float = 1e-2) -> float:
    """The largest derivative of an output with respect to a score, for scores of this size: v is the identity."""
    scores = (score * (1.0 + torch.rand(8, dtype=torch.float64))).requires_grad_()

    def run(scores: Tensor) -> Tensor:
        o = scores @ torch.eye(8, dtype=torch.float64)
        return o / (o.square().mean() + eps).sqrt() if normed else o / o.sum()

    return float(torch.autograd.functional.jacobian(run, scores).abs().max())


def test_with_a_denominator_gradients_grow_as_one_over_the_score_and_with_the_norm_they_are_bounded():
    sizes = (1.0, 1e-2, 1e-4, 1e-6)
    scaled, normed = ([steepest(size, way) for size in sizes] for way in (False, True))
    for size, found in zip(sizes, scaled, strict=True):
        assert 0.02 < found * size < 0.5  # s of n = 8 equal scores: (1 - 1 / n) / (n s)
    assert max(normed) <= 1.0 / 1e-2**0.5  # each derivative of x / sqrt(mean x^2 + eps) is below 1 / sqrt(eps)
    assert normed[-1] == pytest.approx(10.0, rel=1e-3)


def test_the_bound_holds_for_the_part_itself_and_not_for_the_one_with_a_denominator():
    q, k, v = (torch.rand(1, 1, 6, 4, dtype=torch.float64) + 0.1 for _ in range(3))

    def slope(rule: nn.Module, size: float) -> float:
        leaf = (q * size).requires_grad_()
        rule(leaf, k, v).sum().backward()
        assert leaf.grad is not None
        return float(leaf.grad.abs().max())

    scaled = LinearAttention(features="relu", eps=0.0)
    norm = NormAttention(rule=Part(LinearAttention, features="relu", normalised=False), eps=1e-2)
    assert slope(scaled, 1e-6) > 1e5 * slope(scaled, 1.0)
    bound = float((k.sum(2)[:, :, None] * v.sum(2)[..., None]).sum())  # |dx / dq| of the values before the norm
    assert max(slope(norm, size) for size in (1.0, 1e-2, 1e-4, 1e-6)) <= 4 * bound / 1e-2**0.5


def test_it_stands_around_any_rule():
    q, k, v = heads()
    o = NormAttention(rule=Part(DiagonalAttention, block=3, weights="relu"))(q, k, v)
    plain = DiagonalAttention(block=3, weights="relu")(q, k, v)
    flat = plain.transpose(1, 2).flatten(2)
    expected = flat / (flat.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(o.transpose(1, 2).flatten(2), expected, rtol=0, atol=1e-12)


def test_an_unknown_norm_and_another_width_raise():
    with pytest.raises(ValueError, match="norm must be 'rms' or 'layer', not 'batch'"):
        NormAttention(norm="batch")
    with pytest.raises(ValueError, match="width must be that of all heads, 12, not 4"):
        NormAttention(width=4).double()(*heads())
    with pytest.raises(ValueError, match="'bias' is set and not supported"):
        NormAttention()(*heads(), Side(bias=torch.zeros(7)))
