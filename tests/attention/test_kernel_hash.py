"""Kernel hash attention against all pairs' weights, what its weights are, and what its state holds."""

import math
from typing import Any

import pytest
import torch

from unimodal.attention.kernel_hash import KernelHashAttention
from unimodal.mixers.shared_query_key import SharedQueryKey
from unimodal.part import Part
from unimodal.part_checks import part_checks
from unimodal.side import Side

HEADS, WIDTH, BITS, ANCHORS = 2, 6, 16, 25


def rule(**settings: Any) -> KernelHashAttention:
    return KernelHashAttention(heads=HEADS, width=WIDTH, **settings).double()


def qkv(tokens: int, batch: int = 2, **options: Any) -> list[torch.Tensor]:
    return [torch.randn(batch, HEADS, tokens, WIDTH, dtype=torch.float64, **options) for _ in range(3)]


def codes(attention, x, k):
    """Bits of each token of x, number by number; s^2 over the keys of the same row and head."""
    out = torch.zeros(*x.shape[:3], attention.bits, dtype=torch.float64)
    for b in range(x.shape[0]):
        for h in range(x.shape[1]):
            anchors = attention.anchors[h]
            spread = torch.stack([((t / t.norm() - anchor) ** 2).sum() for t in k[b, h] for anchor in anchors]).mean()
            for n in range(x.shape[2]):
                t = x[b, h, n] / x[b, h, n].norm()
                near = torch.stack([(-((t - anchor) ** 2).sum() / (2 * spread)).exp() for anchor in anchors])
                for r in range(attention.bits):
                    total = (attention.directions[h, r] * (near - attention.means[h])).sum()
                    out[b, h, n, r] = 1.0 if total > 0 else -1.0
    return out


def all_pairs(attention, q, k, v):
    """w_nm = 2 R + 1 - 2 (bits that differ), one pair after the other."""
    of_q, of_k, bits = codes(attention, q, k), codes(attention, k, k), attention.bits
    out, weight = torch.zeros(*q.shape[:3], v.shape[3], dtype=v.dtype), torch.zeros(*q.shape[:3], k.shape[2])
    for b in range(q.shape[0]):
        for h in range(q.shape[1]):
            for n in range(q.shape[2]):
                w = torch.tensor([2 * bits + 1 - 2 * int((of_q[b, h, n] != c).sum()) for c in of_k[b, h]]).double()
                weight[b, h, n] = w
                if attention.numerator == "sum":
                    out[b, h, n] = w @ v[b, h] / w.sum()
                else:
                    out[b, h, n] = ((w - bits - 1) @ v[b, h] + (bits + 1) * v[b, h, n]) / w.sum()
    return out, weight


@pytest.mark.parametrize("numerator", ["sum", "own"])
def test_the_linear_form_equals_the_weights_of_all_pairs(numerator):
    attention, (q, k, v) = rule(numerator=numerator), qkv(7)
    want, weight = all_pairs(attention, q, k, v)
    torch.testing.assert_close(attention(q, k, v), want, rtol=0, atol=1e-10)
    assert float(weight.min()) >= 1


def test_other_queries_than_keys_are_read_with_the_spread_of_the_keys():
    attention, (_, k, v) = rule(), qkv(7)
    q = torch.randn(2, HEADS, 3, WIDTH, dtype=torch.float64)
    torch.testing.assert_close(attention(q, k, v), all_pairs(attention, q, k, v)[0], rtol=0, atol=1e-10)


def test_sums_of_whole_numbers_by_adding_and_subtracting_alone_are_the_same_to_the_bit():
    attention, (q, k, _) = rule(), qkv(9, batch=1)
    v = torch.randint(-50, 50, (1, HEADS, 9, WIDTH))
    of_q, of_k = codes(attention, q, k)[0].long(), codes(attention, k, k)[0].long()
    for h in range(HEADS):
        memory = torch.zeros(BITS, WIDTH, dtype=torch.long)
        for m in range(9):
            for r in range(BITS):
                memory[r] = memory[r] + v[0, h, m] if of_k[h, m, r] > 0 else memory[r] - v[0, h, m]
        every, counts = v[0, h].sum(0), of_k[h].sum(0)
        for n in range(9):
            total, share = (BITS + 1) * every, 9 * (BITS + 1)
            for r in range(BITS):
                total = total + memory[r] if of_q[h, n, r] > 0 else total - memory[r]
                share = share + counts[r] if of_q[h, n, r] > 0 else share - counts[r]
            assert torch.equal(attention(q, k, v.double())[0, h, n], total.double() / share)


def test_equal_values_come_back_as_they_are_and_in_the_released_numerator_they_do_not():
    q, _, _ = qkv(50)
    ones = torch.ones_like(q)
    torch.testing.assert_close(rule()(q, q, ones), ones, rtol=0, atol=1e-12)
    released = rule(numerator="own")(q, q, ones)
    assert float(released.mean()) < 0.5


def test_every_weight_is_the_count_of_equal_bits_and_rows_sum_to_one():
    attention, (q, k, _) = rule(), qkv(8, batch=1)
    eye = torch.eye(8, dtype=torch.float64).expand(1, HEADS, -1, -1)
    share = attention(q, k, eye)
    _, weight = all_pairs(attention, q, k, eye)
    torch.testing.assert_close(share, weight.double() / weight.double().sum(-1, keepdim=True), rtol=0, atol=1e-12)
    torch.testing.assert_close(share.sum(-1), torch.ones(1, HEADS, 8, dtype=torch.float64), rtol=0, atol=1e-12)


def test_tokens_in_another_order_give_the_outputs_in_that_order():
    attention, (q, k, v) = rule(), qkv(11)
    order = torch.randperm(11)
    moved = attention(q[:, :, order], k[:, :, order], v[:, :, order])
    torch.testing.assert_close(moved, attention(q, k, v)[:, :, order], rtol=0, atol=1e-12)


def test_the_length_of_a_key_does_not_matter():
    attention, (q, k, v) = rule(), qkv(11)
    torch.testing.assert_close(attention(5 * q, 0.1 * k, v), attention(q, k, v), rtol=0, atol=1e-12)


@pytest.mark.parametrize("numerator", ["sum", "own"])
def test_gradients_are_those_of_the_smooth_form_where_the_sign_lets_them_through(numerator):
    """With y for sign(y) in the codes' gradient and 0 from |y| = 1 on, all else is differentiable."""
    attention, (s, _, v) = rule(numerator=numerator), qkv(6, batch=1, requires_grad=True)
    probe = torch.randn_like(v)
    got = torch.autograd.grad((attention(s, s, v) * probe).sum(), (s, v))

    unit = s / s.norm(dim=-1, keepdim=True)
    far = (unit[..., None, :] - attention.anchors[:, None]).square().sum(-1)
    y = ((-far / (2 * far.mean((2, 3), keepdim=True))).exp() - attention.means[:, None]) @ attention.directions.mT
    assert bool((y.abs() < 1).any())
    assert bool((y.abs() > 1).any())
    code = torch.where(y > 0, 1.0, -1.0).double() + y.clamp(-1, 1) - y.clamp(-1, 1).detach()
    weight = code @ code.mT + BITS + 1
    top = weight @ v if numerator == "sum" else code @ code.mT @ v + (BITS + 1) * v
    want = torch.autograd.grad((top / weight.sum(-1, keepdim=True) * probe).sum(), (s, v))
    for one, other in zip(got, want, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_each_sequence_has_its_own_spread_in_padded_and_packed_batches():
    attention, (q, k, v) = rule(), qkv(9, batch=3)
    k = k + 3.0 * torch.arange(3.0)[:, None, None, None]  # their spreads differ
    sizes = [9, 4, 1]
    alone = [attention(*(t[b : b + 1, :, :n] for t in (q, k, v))) for b, n in enumerate(sizes)]
    padded = attention(q, k, v, Side(lengths=torch.tensor(sizes)))
    joined = [torch.cat([t[b : b + 1, :, :n] for b, n in enumerate(sizes)], 2) for t in (q, k, v)]
    packed = attention(*joined, Side(cu_seqlens=torch.tensor([0, 9, 13, 14], dtype=torch.int32)))
    for b, (one, part) in enumerate(zip(alone, packed.split(sizes, 2), strict=True)):
        torch.testing.assert_close(padded[b : b + 1, :, : sizes[b]], one, rtol=0, atol=1e-12)
        torch.testing.assert_close(part, one, rtol=0, atol=1e-12)


def test_the_state_holds_the_hash_and_whether_it_was_learned():
    attention = rule()
    shapes = {name: tuple(t.shape) for name, t in attention.state_dict().items()}
    assert shapes == {
        "anchors": (HEADS, ANCHORS, WIDTH),
        "means": (HEADS, ANCHORS),
        "directions": (HEADS, BITS, ANCHORS),
        "fitted": (),
    }
    assert not list(attention.parameters())
    assert not attention.fitted
    attention.fitted.fill_(True)
    other = rule(seed=1)
    assert not torch.equal(other.directions, attention.directions)
    other.load_state_dict(attention.state_dict())
    assert bool(other.fitted)
    q, k, v = qkv(9)
    assert torch.equal(other(q, k, v), attention(q, k, v))
    assert torch.equal(attention(q, k, v), attention(q, k, v))


def test_one_seed_draws_one_hash():
    assert torch.equal(rule(seed=3).anchors, rule(seed=3).anchors)
    assert not torch.equal(rule(seed=3).anchors, rule(seed=4).anchors)


def test_the_papers_mixer_is_linear_in_the_tokens_of_a_long_sequence():
    part = Part(KernelHashAttention, heads=4, width=8)
    mixer = SharedQueryKey(32, heads=4, attention=part, bias=False)
    with torch.inference_mode():
        assert bool(mixer(torch.randn(1, 20_000, 32)).isfinite().all())  # all pairs' weights would be 6.4 GB


@pytest.mark.parametrize("check", part_checks("attention", KernelHashAttention, numerator="own"))
def test_the_released_numerator_keeps_the_contracts_of_attention_rules(check):
    part_checks("attention", KernelHashAttention, numerator="own")[check]()


def test_what_does_not_fit_is_refused():
    q, k, v = qkv(5)
    with pytest.raises(ValueError, match="numerator must be 'sum' or 'own', not 'mean'"):
        rule(numerator="mean")
    with pytest.raises(ValueError, match="q must have 2 heads of width 6"):
        rule()(q[..., :5], k, v)
    with pytest.raises(ValueError, match="k must have 2 heads of width 6"):
        rule()(q, k[:, :1], v)
    with pytest.raises(ValueError, match="numerator='own' needs a value for each query"):
        rule(numerator="own")(q[:, :, :3], k, v)


@pytest.mark.parametrize("name", ["mask", "bias", "causal", "memory"])
def test_a_constraint_it_cannot_honour_is_refused(name):
    mask, level = torch.ones(5, 5, dtype=torch.bool), torch.zeros(5, 5)
    value: Any = {"mask": mask, "bias": level, "causal": True, "memory": level}[name]
    with pytest.raises(ValueError, match=f"'{name}' is set and not supported"):
        rule()(*qkv(5), Side(**{name: value}))


def test_an_unfitted_mean_is_the_kernel_at_the_distance_of_the_spread():
    assert torch.equal(rule().means, torch.full((HEADS, ANCHORS), math.exp(-0.5)).double())
