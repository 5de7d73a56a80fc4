"""Softmax attention as a part: what of the side it obeys, and what it refuses."""

import pytest
import torch

from unimodal.attention.softmax import SoftmaxAttention
from unimodal.side import Side
from unimodal.tokens import Tokens


def heads(rows=2, tokens=7):
    return [torch.randn(rows, 2, tokens, 4, dtype=torch.float64) for _ in range(3)]


def test_it_equals_the_equation():
    (q, k, v), mask, bias = heads(), torch.rand(2, 1, 7, 7) < 0.7, torch.randn(1, 2, 7, 7, dtype=torch.float64)
    o = SoftmaxAttention()(q, k, v, Side(mask=mask, bias=bias))
    for b in range(2):
        for h in range(2):
            for n in range(7):
                seen = [m for m in range(7) if mask[b, 0, n, m]]
                weight = [torch.exp(q[b, h, n] @ k[b, h, m] / 2.0 + bias[0, h, n, m]) for m in seen]
                expected = sum((w * v[b, h, m] for w, m in zip(weight, seen, strict=True)), torch.zeros(4)) / sum(
                    weight
                )
                torch.testing.assert_close(o[b, h, n], expected, rtol=0, atol=1e-12)


def test_lengths_hide_the_padding_and_narrow_a_mask():
    q, k, v = heads()
    lengths = torch.tensor([7, 3])
    o = SoftmaxAttention()(q, k, v, Side(lengths=lengths))
    torch.testing.assert_close(o[1:, :, :3], SoftmaxAttention()(*(t[1:, :, :3] for t in (q, k, v))))
    odd = torch.arange(7) % 2 == 1
    both = SoftmaxAttention()(q, k, v, Side(lengths=lengths, mask=odd))
    assert torch.equal(both[1], SoftmaxAttention()(q, k, v, Side(mask=odd & (torch.arange(7) < 3)))[1])


def test_the_scale_and_the_implementation_are_passed_on():
    q, k, v = heads()
    flat = SoftmaxAttention(scale=0.0)(q, k, v)
    torch.testing.assert_close(flat, v.mean(2, keepdim=True).expand_as(v))
    one, other = (SoftmaxAttention(implementation=name)(q, k, v) for name in ("reference", "require"))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    with pytest.raises(RuntimeError, match="different dtypes"):
        SoftmaxAttention(implementation="require")(q.float(), k, v)


def test_a_memory_is_refused():
    with pytest.raises(ValueError, match="'memory' is set and not supported"):
        SoftmaxAttention()(*heads(), Side(memory=Tokens(torch.randn(2, 5, 8))))


@pytest.mark.parametrize("name", ["mask", "bias"])
def test_a_mask_or_bias_on_a_packed_batch_is_refused(name):
    side = Side(cu_seqlens=torch.tensor([0, 3, 7])).replace(**{name: torch.ones(7, 7).to(torch.bool)})
    with pytest.raises(ValueError, match="no mask and no bias"):
        SoftmaxAttention()(*heads(rows=1), side)
