"""Attention over two sets of keys, merged, is attention over their union."""

import pytest
import torch

from unimodal.kernels.attention import attention
from unimodal.kernels.rule_statistics import rule_attention_with_statistics
from unimodal.merging import merge


@pytest.mark.parametrize("cut", [0, 1, 13, 30])
def test_two_sets_of_keys_give_the_union_wherever_it_is_cut(cut):
    q, k, v = (torch.randn(2, 3, 30, 8, dtype=torch.float64) for _ in range(3))
    pieces = []
    for part in (slice(0, cut), slice(cut, 30)):
        o, seen = rule_attention_with_statistics(q, k[:, :, part], v[:, :, part], wanted=("logsumexp",))
        pieces += [o, seen.logsumexp]
    o, lse = merge(*pieces)
    torch.testing.assert_close(o, attention(q, k, v), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(lse, (q @ k.mT / 8**0.5).logsumexp(-1), rtol=1e-10, atol=1e-10)


def test_two_empty_sets_give_nothing_and_what_an_empty_set_gave_is_not_used():
    nothing, o = torch.full((1, 1, 2), float("-inf")), torch.full((1, 1, 2, 3), float("nan"))
    merged, lse = merge(o, nothing, o, nothing)
    assert not merged.any()
    assert torch.equal(lse, nothing)
    some = torch.randn(1, 1, 2, 3)
    assert torch.equal(merge(o, nothing, some, torch.ones(1, 1, 2))[0], some)


def test_shapes_that_do_not_fit_raise():
    o, lse = torch.zeros(1, 1, 2, 3), torch.zeros(1, 1, 2)
    with pytest.raises(ValueError, match=r"o1, o2 have the axes \(B, H, N, V\)"):
        merge(o, lse, o[..., :1, :], lse)
