"""Softmax attention against its equation, row by row in float64: outputs and gradients of both implementations."""

from functools import partial

import pytest
import torch
from torch import Tensor

from unimodal.kernels.attention import attention, choose, reference

TOLERANCE = {torch.float64: 1e-10, torch.float32: 5e-6, torch.bfloat16: 2e-2, torch.float16: 4e-3}
CASES = ("plain", "mask", "bias", "causal", "causal mask bias")


def equation(q: Tensor, k: Tensor, v: Tensor, mask=None, bias=None, causal=False, scale=None) -> Tensor:
    """o_n = sum_m exp(l_nm) v_m / sum_m exp(l_nm), l_nm = scale q_n . k_m + b_nm, over the keys n may see."""
    (batch, heads, queries, width), keys = q.shape, k.shape[2]
    shape = (batch, heads, queries, keys)
    mask = torch.ones(shape, dtype=torch.bool) if mask is None else mask.expand(shape)
    bias = torch.zeros(shape, dtype=torch.float64) if bias is None else bias.expand(shape)
    nothing, rows = 0.0 * torch.stack([t.sum() for t in (q, k, v, bias)]).sum().expand(v.shape[3]), []
    for b in range(batch):
        for h in range(heads):
            g = h * k.shape[1] // heads
            for n in range(queries):
                last = n + keys - queries if causal else keys - 1
                seen = mask[b, h, n] & (torch.arange(keys) <= last)
                if not seen.any():
                    rows.append(nothing)
                    continue
                logit = k[b, g, seen] @ q[b, h, n] * (width**-0.5 if scale is None else scale) + bias[b, h, n, seen]
                weight = (logit - logit.max()).exp()
                rows.append(weight @ v[b, g, seen] / weight.sum())
    return torch.stack(rows).reshape(batch, heads, queries, v.shape[3])


def inputs(queries: int, keys: int, case: str = "plain", heads=2, key_heads=1, batch=1) -> tuple[list[Tensor], dict]:
    """q, k, v (and a bias) exact in bfloat16, so that every dtype computes the same problem."""
    shapes = [(batch, heads, queries, 8), (batch, key_heads, keys, 8), (batch, key_heads, keys, 5)]
    leaves = [torch.randn(shape).bfloat16().double() for shape in shapes]
    fixed: dict = {"causal": "causal" in case}
    if "bias" in case:
        leaves.append(torch.randn(heads, queries, keys).bfloat16().double())
    if "mask" in case:
        fixed["mask"] = torch.rand(batch, 1, queries, keys) < 0.6
        fixed["mask"][:, :, queries // 2] = False
    return leaves, fixed


def gradients(run, leaves: list[Tensor], fixed: dict, dtype: torch.dtype, probe: Tensor) -> list[Tensor]:
    """The output and the gradient of <output, probe> for every leaf, in float64."""
    used = [leaf.to(dtype, copy=True).requires_grad_() for leaf in leaves]
    named = {"bias": used[3]} if len(used) > 3 else {}
    out = run(*used[:3], **named, **fixed)
    assert out.dtype == dtype
    out.backward(probe.to(dtype))
    assert all(leaf.grad is not None for leaf in used)
    return [t.double() for t in (out.detach(), *(leaf.grad for leaf in used)) if t is not None]


def largest_error(got: list[Tensor], expected: list[Tensor]) -> float:
    return max(float((a - b).abs().max() / b.abs().max().clamp_min(1e-2)) for a, b in zip(got, expected, strict=True))


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("queries, keys", [(1, 1), (63, 63), (100, 100), (257, 257), (5, 9), (9, 5)])
def test_outputs_and_gradients_equal_the_equation_in_every_dtype(queries, keys, case):
    leaves, fixed = inputs(queries, keys, case)
    probe = torch.randn(1, 2, queries, 5).bfloat16().double()
    expected = gradients(equation, leaves, fixed, torch.float64, probe)
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        for implementation in ("auto", "reference", "require"):
            got = gradients(partial(attention, implementation=implementation), leaves, fixed, dtype, probe)
            assert largest_error(got, expected) < TOLERANCE[dtype], (dtype, implementation)


def test_the_fast_path_in_float16_is_as_near_to_the_reference_as_stated():
    leaves, fixed = inputs(100, 63, "mask bias")
    q, k, v, bias = (leaf.half() for leaf in leaves)
    fast = attention(q, k, v, bias=bias, **fixed, implementation="require").double()
    judge = reference(q, k, v, bias=bias, **fixed).double()
    assert (fast - judge).abs().max() < TOLERANCE[torch.float16] * judge.abs().max()


@pytest.mark.parametrize("key_heads", [1, 2, 3, 6])
def test_each_group_of_query_heads_reads_its_own_key_head(key_heads):
    (q, k, v), _ = inputs(4, 7, heads=6, key_heads=key_heads, batch=2)
    for implementation in ("require", "reference"):
        o = attention(q, k, v, implementation=implementation)
        torch.testing.assert_close(o, equation(q, k, v), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(7,), (4, 7), (4, 1), (2, 1, 7), (2, 1, 1, 7), (2, 2, 4, 7), (1, 2, 4, 1)])
@pytest.mark.parametrize("causal", [False, True])
def test_masks_and_biases_broadcast_from_the_right(shape, causal):
    (q, k, v), _ = inputs(4, 7, batch=2)
    mask, bias = torch.rand(shape) < 0.5, torch.randn(shape, dtype=torch.float64)
    expected = equation(q, k, v, mask, bias, causal)
    for implementation in ("require", "reference"):
        o = attention(q, k, v, mask=mask, bias=bias, causal=causal, implementation=implementation)
        torch.testing.assert_close(o, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("implementation", ["require", "reference"])
def test_rows_without_a_key_are_exactly_zero_and_have_zero_gradients(implementation):
    (q, k, v, bias), _ = inputs(5, 3, "bias")
    leaves = [leaf.requires_grad_() for leaf in (q, k, v, bias)]
    o = attention(q, k, v, bias=bias, causal=True, implementation=implementation)
    assert not o[:, :, :2].any()
    assert o[:, :, 2:].all()
    o.square().sum().backward()
    assert all(leaf.grad is not None and leaf.grad.isfinite().all() for leaf in leaves)
    assert q.grad is not None
    assert not q.grad[:, :, :2].any()


@pytest.mark.parametrize("implementation", ["require", "reference"])
def test_masked_and_later_keys_have_no_influence(implementation):
    (q, k, v), _ = inputs(9, 9)
    mask = torch.ones(9, dtype=torch.bool)
    mask[4] = False
    far = [t.index_copy(2, torch.tensor([4]), 1e3 * torch.ones_like(t[:, :, :1])) for t in (k, v)]
    masked, ordered = (
        partial(attention, implementation=implementation, **o) for o in ({"mask": mask}, {"causal": True})
    )
    assert torch.equal(masked(q, k, v), masked(q, *far))
    assert torch.equal(ordered(q, k, v)[:, :, :4], ordered(q, *far)[:, :, :4])
    assert not torch.equal(ordered(q, k, v), ordered(q, *far))
    assert not torch.equal(attention(q, k, v), attention(q, *far))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("implementation", ["require", "reference"])
def test_a_packed_batch_equals_its_sequences_one_by_one_with_gradients(implementation, causal):
    lengths = [5, 1, 0, 12]
    leaves, fixed = inputs(18, 18, "causal" if causal else "plain", heads=4, key_heads=2)
    probe = torch.randn(1, 4, 18, 5, dtype=torch.float64)

    def one_by_one(q, k, v, **options):
        pieces = zip(*(t.split(lengths, dim=2) for t in (q, k, v)), strict=True)
        return torch.cat([equation(*piece, **options) for piece in pieces if piece[0].shape[2]], 2)

    def packed(q, k, v, **options):
        cu = torch.tensor([0, 5, 6, 6, 18], dtype=torch.int32)
        return attention(q, k, v, cu_seqlens=cu, implementation=implementation, **options)

    got, expected = (gradients(run, leaves, fixed, torch.float64, probe) for run in (packed, one_by_one))
    assert largest_error(got, expected) < TOLERANCE[torch.float64]


def test_the_scale_replaces_one_over_the_root_of_the_key_width():
    (q, k, v), _ = inputs(4, 7)
    torch.testing.assert_close(attention(q, k, v, scale=0.3), equation(q, k, v, scale=0.3), rtol=0, atol=1e-12)
    torch.testing.assert_close(attention(q, k, v, scale=8**-0.5), attention(q, k, v))


@pytest.mark.parametrize("implementation", ["require", "reference"])
def test_no_keys_and_no_queries_give_zeros_and_nothing(implementation):
    (q, k, v), _ = inputs(4, 7)
    o = attention(q, k[:, :, :0], v[:, :, :0], implementation=implementation)
    assert o.shape == (1, 2, 4, 5)
    assert not o.any()
    assert attention(q[:, :, :0], k, v, implementation=implementation).shape == (1, 2, 0, 5)
    nothing = torch.zeros(1, dtype=torch.int32)
    assert attention(*(t[:, :, :0] for t in (q, k, v)), cu_seqlens=nothing).shape == (1, 2, 0, 5)


@pytest.mark.parametrize("implementation", ["require", "reference"])
def test_a_value_that_is_not_a_number_is_not_hidden(implementation):
    (q, k, v), _ = inputs(4, 7, batch=2)
    q[0, 0, 1] = float("nan")
    o = attention(q, k, v, mask=torch.ones(7, dtype=torch.bool), implementation=implementation)
    assert o[0, 0, 1].isnan().all()
    assert o[1].isfinite().all()


def test_mixed_dtypes_take_the_reference_and_say_why():
    (q, k, v), _ = inputs(4, 7)
    choice = choose(q.float(), k, v)
    assert choice.implementation == "reference"
    assert "different dtypes: torch.float32, torch.float64" in choice.reason
    assert choose(q, k, v).implementation == "torch scaled_dot_product_attention"


def test_demanding_the_fast_path_where_it_cannot_run_raises_with_the_reason():
    (q, k, v), _ = inputs(4, 7)
    with pytest.raises(RuntimeError, match="cannot run: q, k and v have different dtypes"):
        attention(q.float(), k, v, implementation="require")


def test_heads_that_do_not_divide_raise():
    (q, k, v), _ = inputs(4, 7, heads=3, key_heads=2)
    with pytest.raises(ValueError, match="3 query heads are not a multiple of 2 key and 2 value heads"):
        attention(q, k, v)


def test_a_mask_that_is_not_boolean_raises():
    (q, k, v), _ = inputs(4, 7)
    with pytest.raises(ValueError, match=r"mask must be boolean .* not torch.float32"):
        attention(q, k, v, mask=torch.ones(4, 7))


@pytest.mark.parametrize("name, term", [("mask", torch.ones(4, 6).bool()), ("bias", torch.ones(3, 4, 7))])
def test_a_mask_or_bias_of_another_shape_raises(name, term):
    (q, k, v), _ = inputs(4, 7)
    with pytest.raises(ValueError, match=rf"{name} .* does not broadcast to \(B, H, N, M\) = \(1, 2, 4, 7\)"):
        partial(attention, **{name: term})(q, k, v)


@pytest.mark.parametrize("name", ["mask", "bias"])
def test_a_packed_batch_with_a_mask_or_bias_raises(name):
    (q, k, v), _ = inputs(4, 4)
    term = torch.ones(4, 4, dtype=torch.bool if name == "mask" else torch.float64)
    with pytest.raises(ValueError, match="a packed batch takes no mask and no bias"):
        partial(attention, **{name: term})(q, k, v, cu_seqlens=torch.tensor([0, 4]))


def test_a_packed_batch_of_two_rows_or_with_other_keys_raises():
    for (q, k, v), _ in (inputs(4, 4, batch=2), inputs(4, 7)):
        with pytest.raises(ValueError, match="a packed batch has one row and as many keys as queries"):
            attention(q, k, v, cu_seqlens=torch.tensor([0, 4]))
