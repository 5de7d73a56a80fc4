"""The Triton kernels of attention rules against the reference in float64: outputs and every gradient.

They run in Triton's interpreter on the processor, and natively where there is a CUDA device.
"""

import itertools
import math
import random
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from unimodal.kernels import launch_table
from unimodal.kernels.launch_table import Launch
from unimodal.kernels.rule import WEIGHTS, Rule
from unimodal.kernels.rule_reference import reference
from unimodal.kernels.tile_work import Terms

pytest.importorskip("triton")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
TOLERANCE = {torch.float32: 5e-6, torch.bfloat16: 2e-2, torch.float16: 4e-3}
LEARNED = ("q", "k", "v", "before", "after", "bias")
RULES = {
    "softmax": Rule(),
    "sigmoid": Rule("sigmoid", None),
    "causal softmax": Rule(causal=True),
    "causal sigmoid in a window": Rule("sigmoid", -1.0, causal=True, window=3),
    "softmax in a window": Rule(window=5, scale=0.3),
}

# The switches, every two values of which meet in some case of `pairs_of_switches`.
SWITCHES: dict[str, list[Any]] = {
    "weights": [name for name, row in WEIGHTS.items() if row.mode is not None],
    "level": [0.0, None, -1.0],
    "causal": [False, True],
    "window": [None, 3],
    "before": [0, 1, 2],  # heads of the term
    "after": [0, 1, 2],
    "bias": [None, (1, 2, 1, 1), (2, 1, "N", "M"), ("N", 1), ("M",)],
    "mask": [False, True],
    "lengths": [False, True],
    "key_heads": [1, 2],
    "size": [(18, 18), (9, 21), (21, 9)],
}


class Attend(torch.autograd.Function):
    """The two kernels' halves, as the operator of torch joins them."""

    @staticmethod
    def forward(ctx, q, k, v, before, after, bias, rule, mask, lengths, cu_seqlens):
        from unimodal.kernels.rule_triton import forward

        terms = Terms(before, after, bias, mask, lengths, cu_seqlens)
        out, ctx.lse = forward(q, k, v, rule, terms)
        ctx.rule, ctx.terms = rule, terms
        ctx.save_for_backward(q, k, v, out)
        return out

    @staticmethod
    def backward(ctx, grad):
        from unimodal.kernels.rule_triton_backward import backward

        q, k, v, out = ctx.saved_tensors
        wanted = list(ctx.needs_input_grad[3:6])
        found = backward(grad, q, k, v, out, ctx.lse, ctx.rule, ctx.terms, wanted)
        assert [x is not None for x in found[3:]] == wanted
        return (*found, None, None, None, None)


def attend(q, k, v, rule, *, before=None, after=None, bias=None, mask=None, lengths=None, cu_seqlens=None) -> Tensor:
    out: Any = Attend.apply(q, k, v, before, after, bias, rule, mask, lengths, cu_seqlens)
    return out


def results(run, leaves: dict[str, Tensor], dtype: torch.dtype, rule: Rule, **fixed: Tensor) -> dict[str, Tensor]:
    """The output and the gradient of <output, probe> for every leaf; terms stay in float32 at least."""
    wide = torch.promote_types(dtype, torch.float32)
    device = DEVICE if run is attend else "cpu"
    used = {n: t.to(device, dtype if n in "qkv" else wide, copy=True).requires_grad_() for n, t in leaves.items()}
    out = run(**used, rule=rule, **{n: t.to(device) for n, t in fixed.items()})
    assert out.dtype == dtype
    probe = torch.randn(out.shape, generator=torch.Generator().manual_seed(7)).bfloat16()
    out.backward(probe.to(device, dtype))
    found = {"out": out.detach(), **{n: t.grad for n, t in used.items()}}
    return {n: t.cpu().double() for n, t in found.items() if t is not None}


def compare(leaves: dict[str, Tensor], rule: Rule, dtype: torch.dtype = torch.float32, **fixed: Tensor) -> None:
    got = results(attend, leaves, dtype, rule, **fixed)
    expected = results(reference, leaves, torch.float64, rule, **fixed)
    for name, right in expected.items():
        assert got[name].shape == right.shape, name
        if right.numel():
            error = float((got[name] - right).abs().max() / right.abs().max().clamp_min(1e-2))
            # A bias that is one number for a whole row leaves softmax as it is: its gradient is a sum of rounding.
            rounding = name == "bias" and right.abs().max() < 1e-6
            allowed = 42 * torch.finfo(dtype).eps / 1e-2 if rounding else TOLERANCE[dtype]
            assert error < allowed, (name, error)


def inputs(
    queries: int, keys: int, *, heads=2, key_heads=1, batch=1, width=16, value=5, before=0, after=0, bias=None, spare=0
) -> dict[str, Tensor]:
    """q, k, v and the terms, exact in bfloat16, so that every dtype computes the same problem."""
    diagonals = 2 * max(queries, keys, 1) - 1 + 2 * spare
    shapes: dict[str, tuple[Any, ...]] = {"q": (batch, heads, queries, width), "k": (batch, key_heads, keys, width)}
    shapes["v"] = (batch, key_heads, keys, value)
    shapes |= {n: (count, diagonals) for n, count in (("before", before), ("after", after)) if count}
    if bias is not None:
        shapes["bias"] = tuple({"N": queries, "M": keys}.get(n, n) for n in bias)
    return {n: torch.randn(s).bfloat16().double() for n, s in shapes.items()}


def pairs_of_switches() -> list[dict[str, Any]]:
    """Few settings of :data:`SWITCHES` in which every two values of two switches meet, found greedily."""
    draw, names = random.Random(0), list(SWITCHES)
    missing = {
        (a, i, b, j)
        for a, b in itertools.combinations(names, 2)
        for i in range(len(SWITCHES[a]))
        for j in range(len(SWITCHES[b]))
    }
    cases = []
    while missing:
        tries = [{n: draw.randrange(len(SWITCHES[n])) for n in names} for _ in range(200)]
        met = [{(a, t[a], b, t[b]) for a, b in itertools.combinations(names, 2)} & missing for t in tries]
        best = max(range(len(tries)), key=lambda i: len(met[i]))
        missing -= met[best]
        if met[best]:
            cases.append({n: SWITCHES[n][i] for n, i in tries[best].items()})
    return cases


def run_case(case: dict[str, Any], dtype: torch.dtype = torch.float32) -> None:
    (queries, keys), batch = case["size"], 2
    names = ("key_heads", "before", "after", "bias")
    leaves = inputs(queries, keys, batch=batch, **{n: case[n] for n in names})
    fixed = {}
    if case["mask"]:
        fixed["mask"] = torch.rand(batch, 1, queries, keys) < 0.7
    if case["lengths"]:
        fixed["lengths"] = torch.tensor([keys - 2, 0])
    compare(leaves, Rule(case["weights"], case["level"], case["causal"], case["window"]), dtype, **fixed)


CASES = pairs_of_switches()


@pytest.mark.parametrize("case", CASES[:9], ids=str)
def test_switches_that_meet_give_the_reference_with_gradients(case):
    run_case(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES[9:], ids=str)
def test_every_two_switches_meet_and_give_the_reference_with_gradients(case):
    run_case(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_two_switches_give_the_reference_in_bfloat16(case):
    run_case(case, torch.bfloat16)


@pytest.mark.parametrize("name", RULES)
def test_packed_sequences_of_every_ragged_length(name):
    sizes = [1, 15, 0, 16, 17, 0]
    leaves = inputs(sum(sizes), sum(sizes), heads=1, before=1, after=1)
    cu = torch.tensor([0, *itertools.accumulate(sizes)], dtype=torch.int32)
    compare(leaves, RULES[name], cu_seqlens=cu)


@pytest.mark.parametrize("size, name", [(0, "softmax"), (1, "sigmoid"), (63, "causal softmax")])
def test_ragged_lengths(size, name):
    compare(inputs(size, size, heads=1, before=1, after=1), RULES[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 63, 100, 257])
def test_every_rule_at_every_ragged_length(size, name):
    compare(inputs(size, size, heads=1, before=1, after=1, bias=(1, "N", "M"), spare=3), RULES[name])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("width", [32, 64, 128])
def test_head_widths_and_dtypes(width, dtype):
    leaves = inputs(17, 17, heads=1, width=width, value=width, before=1, after=1)
    compare(leaves, RULES["sigmoid" if width == 64 else "softmax"], dtype)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("width, value", [(8, 1), (80, 48), (80, 80), (256, 16), (256, 256)])
@pytest.mark.parametrize("name", RULES)
def test_head_widths_that_are_no_powers_of_two_and_values_of_another_width(width, value, dtype, name):
    leaves = inputs(17, 33, heads=1, width=width, value=value, before=1, after=1, bias=("N", "M"))
    compare(leaves, RULES[name], dtype)


def test_a_head_of_80_with_values_of_24_columns_in_float16():
    compare(inputs(5, 18, heads=1, width=80, value=24, after=1), Rule("sigmoid", None), torch.float16)


@pytest.mark.parametrize(
    "queries, keys",
    [(16, 32), pytest.param(32, 16, marks=pytest.mark.slow), pytest.param(64, 16, marks=pytest.mark.slow)],
)
def test_blocks_that_are_not_square(queries, keys, monkeypatch):
    plan = Launch(queries, keys, 4, 1)
    square = Launch(16, 16, 4, 1)
    monkeypatch.setattr(
        "unimodal.kernels.rule_triton_call.launch_of", lambda kind, **_: square if kind == "diagonals" else plan
    )
    assert plan != launch_table.INTERPRETED
    compare(inputs(37, 37, heads=1, before=1, bias=("N", "M")), Rule(causal=True))


def test_a_sequence_has_the_same_bits_alone_padded_and_packed():
    sizes, rule = [19, 7], Rule(causal=True)
    one = inputs(19, 19, batch=2, before=2, after=1)
    packed = {n: torch.cat([one[n][i : i + 1, :, :size] for i, size in enumerate(sizes)], 2) for n in "qkv"}
    packed |= {n: one[n] for n in ("before", "after")}
    got = results(attend, packed, torch.float32, rule, cu_seqlens=torch.tensor([0, 19, 26]))
    lengths = results(attend, one, torch.float32, rule, lengths=torch.tensor(sizes))
    assert torch.equal(got["out"][:, :, 19:], lengths["out"][1:, :, :7])
    for start, size, i in ((0, 19, 0), (19, 7, 1)):
        alone = {n: one[n][i : i + 1, :, :size] if n in "qkv" else one[n] for n in one}
        # The probe belongs to a place in the batch: take forward alone for the output.
        out = attend(**{n: t.float().to(DEVICE) for n, t in alone.items()}, rule=rule)
        assert torch.equal(out.cpu().double(), got["out"][:, :, start : start + size])


def test_two_runs_have_the_same_bits_in_every_gradient():
    leaves = inputs(18, 18, heads=2, before=1, after=1, bias=("N", "M"))
    first, second = (results(attend, leaves, torch.float32, Rule()) for _ in range(2))
    assert all(torch.equal(first[n], second[n]) for n in first)


def test_what_is_not_seen_has_no_influence_and_gets_no_gradient():
    leaves, lengths = inputs(9, 20, batch=1, after=1), torch.tensor([17])
    mask = torch.rand(1, 1, 9, 20) < 0.6
    mask[..., 5] = False
    changed = {n: t.clone() for n, t in leaves.items()}
    for n in "kv":
        changed[n][:, :, 17:] = 1e30
        changed[n][:, :, 5] = -1e30
    for rule in (Rule(window=40), Rule("sigmoid")):
        one, other = (results(attend, x, torch.float32, rule, lengths=lengths, mask=mask) for x in (leaves, changed))
        assert torch.equal(one["out"], other["out"])
        assert not other["k"][:, :, [5, 17, 18, 19]].any()
        assert not other["v"][:, :, [5, 17, 18, 19]].any()
        assert torch.equal(one["q"], other["q"])


def test_a_row_without_keys_gives_zero_and_an_infinite_log_sum_exp():
    from unimodal.kernels.rule_triton import forward

    x = inputs(6, 6, heads=1)
    mask = torch.ones(1, 1, 6, 6, dtype=torch.bool)
    mask[..., 2, :] = False
    q, k, v = (x[n].float().to(DEVICE) for n in "qkv")
    out, lse = forward(q, k, v, Rule(), Terms(mask=mask.to(DEVICE)))
    logits = (x["q"] @ x["k"].mT * 16**-0.5).masked_fill(~mask, -torch.inf)
    expected = logits.logsumexp(-1) / math.log(2.0)
    assert not out[:, :, 2].any()
    assert lse[0, 0, 2] == torch.inf
    kept = [0, 1, 3, 4, 5]
    assert torch.allclose(lse[:, :, kept].cpu().double(), expected[:, :, kept], rtol=0, atol=1e-5)
    assert forward(q, k, v, Rule("sigmoid"), Terms())[1].shape == (0,)


def test_tensors_with_any_strides_give_the_same_bits():
    x = inputs(17, 17, heads=2, key_heads=2, before=2)
    turned = {n: t.transpose(1, 2).contiguous().transpose(1, 2) if n in "qkv" else t for n, t in x.items()}
    turned["v"] = x["v"].mT.contiguous().mT
    run = partial(attend, rule=Rule())
    one, other = (run(**{n: t.float().to(DEVICE) for n, t in leaves.items()}) for leaves in (x, turned))
    assert torch.equal(one, other)


def test_only_wanted_gradients_of_terms_are_computed():
    x = {n: t.float().to(DEVICE) for n, t in inputs(5, 5, before=1, after=1).items()}
    x["after"].requires_grad_()
    attend(**x, rule=Rule()).sum().backward()
    assert x["before"].grad is None
    assert x["after"].grad is not None
