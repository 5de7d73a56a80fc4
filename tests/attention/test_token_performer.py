"""The released features of T2T-ViT: their equation, kept or drawn rows."""

from typing import Any

import pytest
import torch

from unimodal.attention.token_performer import TokenPerformerAttention
from unimodal.side import Side


def test_it_equals_the_equation():
    q, k, v = torch.randn(3, 2, 1, 5, 8, dtype=torch.float64) * 0.5
    rule: Any = TokenPerformerAttention(features=4, width=8).double()
    torch.nn.init.normal_(rule.rows)
    found = rule(q, k, v)

    def phi(x):
        exponents = [sum(rule.rows[r, i] * x[i] for i in range(8)) - (x * x).sum() / 2 for r in range(4)]
        return torch.stack([e.exp() / 2 for e in exponents])

    for b in range(2):
        for n in range(5):
            weights = [(phi(q[b, 0, n]) * phi(k[b, 0, m])).sum() for m in range(5)]
            value = sum(w * v[b, 0, m] for m, w in enumerate(weights)) / (sum(weights) + 1e-8)
            torch.testing.assert_close(found[b, 0, n], value)


def test_rows_are_orthogonal_and_of_length_sqrt_of_their_number():
    rows: Any = TokenPerformerAttention(features=32, width=64).rows
    torch.testing.assert_close(rows @ rows.T, 32 * torch.eye(32), atol=1e-4, rtol=0)


def test_kept_rows_are_those_that_would_be_drawn():
    q, k, v = torch.randn(3, 1, 2, 5, 8)
    kept, drawn = (TokenPerformerAttention(features=4, width=width, seed=3) for width in (8, None))
    assert torch.equal(kept(q, k, v), drawn(q, k, v))
    assert list(kept.state_dict()) == ["rows"]
    assert not drawn.state_dict()
    assert not list(kept.parameters())


def test_another_width_than_that_of_the_kept_rows_is_refused():
    with pytest.raises(ValueError, match="width must be that of the keys, 8, not 64"):
        TokenPerformerAttention(width=64)(*torch.randn(3, 1, 2, 4, 8))


def test_a_constraint_of_pairs_is_refused():
    with pytest.raises(ValueError, match="'mask' is set and not supported"):
        TokenPerformerAttention()(*torch.randn(3, 1, 2, 4, 8), Side(mask=torch.ones(4, 4, dtype=torch.bool)))
