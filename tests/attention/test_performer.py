"""Performer attention: its equation, its limit, and its cost."""

import pytest
import torch

from unimodal.attention.performer import PerformerAttention
from unimodal.attention.softmax import SoftmaxAttention
from unimodal.multiply_adds import multiply_adds
from unimodal.random_features import orthogonal_rows
from unimodal.side import Side


def test_it_equals_the_equation():
    q, k, v = (torch.randn(2, 3, n, 4, dtype=torch.float64) for n in (5, 7, 7))
    found = PerformerAttention(features=6, seed=2)(q, k, v)
    w = torch.tensor(orthogonal_rows(6, 4, 2)).double()

    def phi(x):
        x = x * 4**-0.25
        return [torch.exp(sum(w[r, i] * x[i] for i in range(4)) - (x * x).sum() / 2) / 6**0.5 for r in range(6)]

    for b in range(2):
        for h in range(3):
            of_keys = [phi(k[b, h, m]) for m in range(7)]
            for n in range(5):
                of_query = phi(q[b, h, n])
                weights = [sum(x * y for x, y in zip(of_query, of_key, strict=True)) for of_key in of_keys]
                value = sum(weight * v[b, h, m] for m, weight in enumerate(weights)) / sum(weights)
                torch.testing.assert_close(found[b, h, n], value)


def test_with_many_features_it_comes_near_softmax_attention():
    q, k, v = torch.randn(3, 1, 2, 9, 8, dtype=torch.float64) * 0.3  # larger ones have heavy tails
    exact = SoftmaxAttention()(q, k, v)
    gaps = [
        torch.stack([PerformerAttention(features=n, seed=seed)(q, k, v) - exact for seed in range(20)]).std().item()
        for n in (16, 256, 4096)
    ]
    # The error of a mean of n features falls as n^(-1/2): by 4 where n grows 16 times.
    assert 3 < gaps[0] / gaps[1] < 5
    assert 3 < gaps[1] / gaps[2] < 5


def test_large_values_neither_overflow_nor_vanish():
    q, k, v = torch.randn(3, 1, 2, 9, 8) * 40
    out = PerformerAttention()(q, k, v)
    assert out.isfinite().all()
    assert out.abs().max() <= v.abs().max()


def test_heads_of_keys_are_shared_by_groups_of_query_heads():
    q, k, v = torch.randn(1, 4, 5, 8), *torch.randn(2, 1, 2, 5, 8)
    rule = PerformerAttention()
    repeated = rule(q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1))
    torch.testing.assert_close(rule(q, k, v), repeated)


def test_four_times_the_tokens_cost_four_times_as_much_and_sixteen_times_with_softmax():
    def cost(rule, tokens: int) -> int:
        with torch.device("meta"):
            return multiply_adds(rule, *torch.randn(3, 1, 1, tokens, 64))

    sizes = (1024, 4096, 16384)
    assert [cost(PerformerAttention(), n) // cost(PerformerAttention(), 1024) for n in sizes] == [1, 4, 16]
    softmax = SoftmaxAttention(implementation="reference")
    assert [cost(softmax, n) // cost(softmax, 1024) for n in sizes] == [1, 16, 256]


@pytest.mark.parametrize("constraint", ["mask", "bias"])
def test_a_constraint_of_pairs_is_refused(constraint):
    side = Side().replace(**{constraint: torch.ones(4, 4, dtype=torch.bool)})
    with pytest.raises(ValueError, match=f"'{constraint}' is set and not supported"):
        PerformerAttention()(*torch.randn(3, 1, 2, 4, 8), side)
