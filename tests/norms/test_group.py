"""Group norm: its equation in loops, torch's own, limits, layouts and refusals."""

import pytest
import torch

from unimodal.norms.group import GroupNorm
from unimodal.norms.layer import LayerNorm
from unimodal.side import Side
from unimodal.tokens import Tokens


def test_it_equals_the_equation_and_torch():
    norm, x = GroupNorm(6, groups=2).double(), torch.randn(2, 5, 6, dtype=torch.float64)
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    made = norm(x)
    for b in range(2):
        for g in range(2):
            part = slice(3 * g, 3 * g + 3)
            group = x[b, :, part]
            mean = sum(group.flatten()) / 15
            spread = sum((value - mean) ** 2 for value in group.flatten()) / 15
            expected = (group - mean) / (spread + 1e-5) ** 0.5 * norm.weight[part] + norm.bias[part]
            torch.testing.assert_close(made[b, :, part], expected, rtol=0, atol=1e-12)
    theirs = torch.nn.functional.group_norm(x.mT.contiguous(), 2, norm.weight, norm.bias).mT
    torch.testing.assert_close(made, theirs, rtol=0, atol=1e-12)


def test_one_group_of_one_token_is_layer_norm():
    x = torch.randn(4, 1, 6)
    torch.testing.assert_close(GroupNorm(6, groups=1)(x), LayerNorm(6, eps=1e-5)(x))


def test_no_sequence_sees_another_or_padding():
    norm, x = GroupNorm(6, groups=2), torch.randn(2, 5, 6)
    rows = Tokens(x, Side(lengths=torch.tensor([5, 3])))
    alone = [norm(row[None])[0] for row in rows.split()]
    for tokens in (rows, rows.packed()):
        for own, expected in zip(tokens.replace(norm(tokens.x, tokens.side)).split(), alone, strict=True):
            torch.testing.assert_close(own, expected)


def test_groups_that_do_not_divide_and_what_would_be_seen_although_hidden_are_refused():
    with pytest.raises(ValueError, match="must divide the 6 channels, not 4"):
        GroupNorm(6, groups=4)
    for side, said in ((Side(causal=True), "causal"), (Side(mask=torch.ones(1, dtype=torch.bool)), "mask")):
        with pytest.raises(ValueError, match=said):
            GroupNorm(6, groups=2)(torch.randn(1, 2, 6), side)
