"""Sigmoid attention: the equation, the level -log n in every layout, and what distinguishes it from a softmax."""

import math

import pytest
import torch

from unimodal.attention.sigmoid import SigmoidAttention
from unimodal.attention.softmax import SoftmaxAttention
from unimodal.side import Side
from unimodal.tokens import Tokens

IMPLEMENTATIONS = ("reference", "require")


def heads(rows=2, tokens=7, keys=None, width=4):
    sizes = (tokens, keys or tokens, keys or tokens)
    return [torch.randn(rows, 2, n, width, dtype=torch.float64) for n in sizes]


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("level", [None, 0.0, -1.5])
def test_it_equals_the_equation(level, causal, implementation):
    (q, k, v), mask, bias = heads(keys=9), torch.rand(2, 1, 7, 9) < 0.7, torch.randn(1, 2, 7, 9, dtype=torch.float64)
    o = SigmoidAttention(level=level, implementation=implementation)(q, k, v, Side(mask=mask, bias=bias, causal=causal))
    for b in range(2):
        for h in range(2):
            for n in range(7):
                expected = torch.zeros(4, dtype=torch.float64)
                for m in range(9):
                    if mask[b, 0, n, m] and (not causal or m <= n + 2):
                        logit = q[b, h, n] @ k[b, h, m] / 2.0 + bias[0, h, n, m]
                        logit = logit + (-math.log(9) if level is None else level)
                        expected = expected + v[b, h, m] / (1.0 + math.exp(-float(logit)))
                torch.testing.assert_close(o[b, h, n], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_n_counts_the_keys_of_each_sequence_of_a_padded_and_of_a_packed_batch(implementation):
    rule, sizes = SigmoidAttention(implementation=implementation), (7, 3)
    q, k, v = heads()
    alone = [rule(*(t[i : i + 1, :, :n] for t in (q, k, v))) for i, n in enumerate(sizes)]
    padded = rule(q, k, v, Side(lengths=torch.tensor(sizes)))
    packed = rule(*(torch.cat([t[:1], t[1:, :, :3]], 2) for t in (q, k, v)), Side(cu_seqlens=torch.tensor([0, 7, 10])))
    for one, in_padded, in_packed in zip(alone, padded.split(1), packed.split(sizes, 2), strict=True):
        torch.testing.assert_close(in_padded[:, :, : one.shape[2]], one, rtol=0, atol=1e-12)
        torch.testing.assert_close(in_packed, one, rtol=0, atol=1e-12)
    fixed = SigmoidAttention(level=-math.log(7))(q[1:, :, :3], k[1:, :, :3], v[1:, :, :3])
    assert not torch.allclose(fixed, alone[1])


@pytest.mark.parametrize("n", [64, 333, 4096])
def test_weights_of_small_logits_sum_to_n_over_n_plus_one_and_to_half_of_n_without_the_level(n):
    q, k = torch.zeros(1, 1, 1, 8), torch.randn(1, 1, n, 8)
    ones = torch.ones(1, 1, n, 1)
    assert float(SigmoidAttention()(q, k, ones)) == pytest.approx(n / (n + 1), rel=1e-5)
    assert float(SigmoidAttention(level=0.0)(q, k, ones)) == pytest.approx(n / 2, rel=1e-5)


def test_one_more_key_takes_nothing_from_the_others():
    q, k, v = heads()
    rule = SigmoidAttention(level=-2.0)
    first, last = rule(q, k[:, :, :6], v[:, :, :6]), rule(q, k[:, :, 6:], v[:, :, 6:])
    torch.testing.assert_close(rule(q, k, v), first + last, rtol=0, atol=1e-12)
    softmax = SoftmaxAttention()
    assert not torch.allclose(
        softmax(q, k, v), softmax(q, k[:, :, :6], v[:, :, :6]) + softmax(q, k[:, :, 6:], v[:, :, 6:])
    )


def test_a_single_causal_query_is_the_last_row_of_all():
    q, k, v = heads(tokens=200)
    rule, side = SigmoidAttention(), Side(causal=True)
    torch.testing.assert_close(rule(q[:, :, -1:], k, v, side), rule(q, k, v, side)[:, :, -1:], rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [0.1, 1.0, 8.0, 64.0])
def test_the_jacobian_grows_no_faster_than_the_square_of_the_tokens_length(size):
    """|J| <= n + n R^2 / (2 sqrt(K)): sigmoid is at most 1, its derivative at most 1/4, a token at most R long."""
    x = size * torch.randn(6, 4, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda z: SigmoidAttention()(*(z[None, None],) * 3), x)
    longest = float(x.norm(dim=-1).max())
    assert 0.0 < float(torch.linalg.matrix_norm(jacobian.reshape(24, 24), 2)) <= 6 + 6 * longest**2 / (2 * 4**0.5)


def test_the_parameters_are_none_and_the_implementation_is_passed_on():
    assert not list(SigmoidAttention().parameters())
    assert not SigmoidAttention().state_dict()
    q, k, v = heads()
    with pytest.raises(RuntimeError, match="different dtypes"):
        SigmoidAttention(implementation="require")(q.float(), k, v)
    flat = SigmoidAttention(scale=0.0, level=0.0)(q, k, v)
    torch.testing.assert_close(flat, v.sum(2, keepdim=True).expand_as(v) / 2.0)


def test_a_memory_is_refused():
    with pytest.raises(ValueError, match="'memory' is set and not supported"):
        SigmoidAttention()(*heads(), Side(memory=Tokens(torch.randn(2, 5, 8))))


@pytest.mark.parametrize("name", ["mask", "bias"])
def test_a_mask_or_bias_on_a_packed_batch_is_refused(name):
    side = Side(cu_seqlens=torch.tensor([0, 3, 7])).replace(**{name: torch.ones(7, 7).to(torch.bool)})
    with pytest.raises(ValueError, match="no mask, no bias"):
        SigmoidAttention()(*heads(rows=1), side)
