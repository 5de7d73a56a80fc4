"""Attention under a rule against its equation, row by row in float64: outputs and gradients of every implementation."""

import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from unimodal.kernels import tile_work
from unimodal.kernels.attention import attention
from unimodal.kernels.rule import WEIGHTS, Rule, Weights
from unimodal.kernels.rule_attention import choose, rule_attention

TOLERANCE = {torch.float64: 1e-10, torch.float32: 5e-6, torch.bfloat16: 2e-2}
NAMES = ("before", "after", "bias")
RULES = {
    "softmax": Rule(),
    "sigmoid": Rule("sigmoid", None),
    "causal softmax": Rule(causal=True),
    "causal sigmoid in a window": Rule("sigmoid", -1.0, causal=True, window=3),
    "softmax in a window": Rule(window=5, scale=0.3),
}


def equation(q: Tensor, k: Tensor, v: Tensor, rule: Rule, before=None, after=None, bias=None, mask=None, lengths=None):
    """o_n = sum_m c_d w_nm v_m, w_nm from l_nm = scale q_n . k_m + b_d + b_nm + level, d = m - n - (M - N)."""
    (batch, heads, queries, width), keys = q.shape, k.shape[2]
    scale = width**-0.5 if rule.scale is None else rule.scale
    leaves = [t for t in (q, k, v, before, after, bias) if t is not None]
    nothing, rows = 0.0 * torch.stack([t.sum() for t in leaves]).sum().expand(v.shape[3]), []
    for b in range(batch):
        count = keys if lengths is None else int(lengths[b])
        level = -math.log(max(count, 1)) if rule.level is None else rule.level
        for h in range(heads):
            g = h * k.shape[1] // heads
            for n in range(queries):
                d = torch.arange(keys) - n - (keys - queries)
                seen = torch.arange(keys) < count
                seen = seen & (d <= 0) if rule.causal else seen
                seen = seen if rule.window is None else seen & (d.abs() <= rule.window)
                seen = seen if mask is None else seen & mask.expand(batch, heads, queries, keys)[b, h, n]
                if not seen.any():
                    rows.append(nothing)
                    continue
                logit = scale * k[b, g, seen] @ q[b, h, n] + level
                if before is not None:
                    logit = logit + before[h % before.shape[0], before.shape[1] // 2 + d[seen]]
                if bias is not None:
                    logit = logit + bias.expand(batch, heads, queries, keys)[b, h, n, seen]
                if rule.weights == "softmax":
                    weight = (logit - logit.max()).exp()
                    weight = weight / weight.sum()
                else:
                    weight = 1.0 / (1.0 + (-logit).exp())
                if after is not None:
                    weight = weight * after[h % after.shape[0], after.shape[1] // 2 + d[seen]]
                rows.append(weight @ v[b, g, seen])
    return torch.stack(rows or [nothing])[: len(rows)].reshape(batch, heads, queries, v.shape[3])


def inputs(queries: int, keys: int, *terms: str, heads=2, key_heads=1, batch=1, width=8, spare=0) -> dict[str, Any]:
    """q, k, v and the terms, exact in bfloat16, so that every dtype computes the same problem."""
    diagonals = (heads, 2 * max(queries, keys, 1) - 1 + 2 * spare)
    shapes = {
        "q": (batch, heads, queries, width),
        "k": (batch, key_heads, keys, width),
        "v": (batch, key_heads, keys, 5),
        "before": diagonals,
        "after": diagonals,
        "bias": (1, heads, queries, keys),
    }
    return {n: torch.randn(s).bfloat16().double() for n, s in shapes.items() if n in "qkv" or n in terms}


def gradients(run, leaves: dict[str, Any], dtype: torch.dtype, **fixed) -> list[Tensor]:
    """The output and the gradient of <output, probe> for every leaf, in float64; terms stay in float32 at least."""
    wide = torch.promote_types(dtype, torch.float32)
    used = {n: t.to(wide if n in NAMES else dtype, copy=True).requires_grad_() for n, t in leaves.items()}
    out = run(**used, **fixed)
    assert out.dtype == dtype
    probe = torch.randn(out.shape, generator=torch.Generator().manual_seed(7)).bfloat16()
    out.backward(probe.to(dtype))
    found = [out.detach(), *(t.grad for t in used.values())]
    assert [t.dtype for t in found[1:] if t is not None] == [t.dtype for t in used.values()]
    return [t.double() for t in found if t is not None]


def largest_error(got: list[Tensor], expected: list[Tensor]) -> float:
    pairs = [(a, b) for a, b in zip(got, expected, strict=True) if b.numel()]
    return max((float((a - b).abs().max() / b.abs().max().clamp_min(1e-2)) for a, b in pairs), default=0.0)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("size", [0, 1, 63, 100, 257])
def test_outputs_and_gradients_equal_the_equation_in_every_dtype(size, name):
    leaves = inputs(size, size, *NAMES, spare=2, width=64 if size == 100 else 32)
    expected = gradients(equation, leaves, torch.float64, rule=RULES[name])
    for dtype, allowed in TOLERANCE.items():
        for implementation in ("require", "reference"):
            run = partial(rule_attention, implementation=implementation)
            got = gradients(run, leaves, dtype, rule=RULES[name])
            assert largest_error(got, expected) < allowed, (dtype, implementation)


@pytest.mark.parametrize("terms", [(), ("before",), ("after",), ("bias",), ("before", "after")])
@pytest.mark.parametrize("queries, keys", [(5, 9), (9, 5), (0, 3), (1, 300), (129, 129)])
@pytest.mark.parametrize("rule", [Rule("sigmoid"), Rule(window=4), Rule("sigmoid", causal=True), Rule(causal=True)])
def test_every_subset_of_terms_and_other_numbers_of_keys_than_queries(rule, queries, keys, terms):
    leaves = inputs(queries, keys, *terms)
    if rule == Rule(causal=True) and ("before" not in terms or not queries):
        leaves = inputs(queries, keys, "before", "after")
    expected = gradients(equation, leaves, torch.float64, rule=rule)
    for implementation in ("require", "reference"):
        got = gradients(partial(rule_attention, implementation=implementation), leaves, torch.float64, rule=rule)
        assert largest_error(got, expected) < 1e-10, implementation


@pytest.mark.parametrize("shape", [(7,), (4, 7), (4, 1), (2, 1, 7), (2, 1, 1, 7), (2, 2, 4, 7), (1, 2, 4, 1)])
@pytest.mark.parametrize("rule", [Rule("sigmoid"), Rule(window=2)])
def test_masks_and_biases_broadcast_from_the_right_with_gradients(shape, rule):
    leaves = inputs(4, 7, "before", batch=2)
    leaves["bias"] = torch.randn(shape, dtype=torch.float64)
    mask = torch.rand(shape) < 0.5
    expected = gradients(equation, leaves, torch.float64, rule=rule, mask=mask)
    for implementation in ("require", "reference"):
        run = partial(rule_attention, implementation=implementation)
        assert largest_error(gradients(run, leaves, torch.float64, rule=rule, mask=mask), expected) < 1e-10


@pytest.mark.parametrize("key_heads", [1, 2, 3, 6])
@pytest.mark.parametrize("one_table", [False, True])
def test_each_group_of_query_heads_reads_its_own_key_head(key_heads, one_table):
    leaves = inputs(4, 7, "before", "after", heads=6, key_heads=key_heads, batch=2)
    if one_table:
        leaves |= {name: leaves[name][:1] for name in ("before", "after")}
    expected = gradients(equation, leaves, torch.float64, rule=Rule())
    for implementation in ("require", "reference"):
        run = partial(rule_attention, implementation=implementation)
        assert largest_error(gradients(run, leaves, torch.float64, rule=Rule()), expected) < 1e-10


@pytest.mark.parametrize("name", RULES)
def test_padded_and_packed_sequences_equal_each_one_alone_with_gradients(name):
    rule, sizes = RULES[name], [12, 5, 0, 1]
    leaves = inputs(12, 12, "before", "after", heads=4, key_heads=2, batch=4)
    lengths, cu = torch.tensor(sizes), torch.tensor([0, 12, 17, 17, 18], dtype=torch.int32)
    expected = gradients(equation, leaves, torch.float64, rule=rule, lengths=lengths)

    def real(x: Tensor) -> Tensor:
        return torch.cat([row[:, :n] for row, n in zip(x, sizes, strict=True)], 1)[None]

    def one_by_one(q, k, v, rule, before, after):
        spans = [slice(0, 12), slice(12, 17), slice(17, 18)]
        return torch.cat([equation(q[:, :, s], k[:, :, s], v[:, :, s], rule, before, after) for s in spans], 2)

    joined = leaves | {n: real(leaves[n]) for n in "qkv"}
    alone = gradients(one_by_one, joined, torch.float64, rule=rule)
    for implementation in ("require", "reference"):
        run = partial(rule_attention, implementation=implementation)
        padded = gradients(run, leaves, torch.float64, rule=rule, lengths=lengths)
        assert largest_error(padded, expected) < 1e-10
        torch.testing.assert_close(real(padded[0]), alone[0], rtol=0, atol=1e-12)
        assert largest_error(gradients(run, joined, torch.float64, rule=rule, cu_seqlens=cu), alone) < 1e-10


@pytest.mark.parametrize("cells", [1, 64, 1000])
def test_the_size_of_a_tile_does_not_matter(monkeypatch, cells):
    monkeypatch.setattr(tile_work, "CELLS", cells)
    monkeypatch.setattr(tile_work, "FEWEST", 3)
    leaves = inputs(23, 23, *NAMES, heads=4, batch=2)
    for rule in RULES.values():
        expected = gradients(equation, leaves, torch.float64, rule=rule)
        got = gradients(partial(rule_attention, implementation="require"), leaves, torch.float64, rule=rule)
        assert largest_error(got, expected) < 1e-10


def test_a_factor_of_one_and_a_term_of_zero_change_nothing():
    leaves = inputs(40, 40)
    nothing, one = torch.zeros(2, 79), torch.ones(1, 79)
    for rule in RULES.values():
        plain = rule_attention(**leaves, rule=rule, implementation="reference")
        torch.testing.assert_close(rule_attention(**leaves, rule=rule, before=nothing, after=one), plain)
    torch.testing.assert_close(rule_attention(**leaves, before=nothing, after=one), attention(**leaves))


def test_a_window_as_wide_as_the_sequence_is_no_window():
    leaves = inputs(40, 40)
    torch.testing.assert_close(rule_attention(**leaves, rule=Rule(window=39)), attention(**leaves))
    assert not torch.allclose(rule_attention(**leaves, rule=Rule(window=38)), attention(**leaves))


@pytest.mark.parametrize("implementation", ["require", "reference"])
def test_what_is_not_seen_has_no_influence_and_rows_without_keys_are_zero(implementation):
    leaves = inputs(9, 9, "after")
    mask = torch.ones(9, 9, dtype=torch.bool)
    mask[:, 4], mask[2] = False, False
    far = leaves | {n: leaves[n].index_fill(2, torch.tensor([4]), 1e3) for n in "kv"}
    for rule in (Rule(), Rule("sigmoid", None)):
        run = partial(rule_attention, implementation=implementation)
        assert torch.equal(run(**leaves, rule=rule, mask=mask), run(**far, rule=rule, mask=mask))
        assert not run(**leaves, rule=rule, mask=mask)[:, :, 2].any()
        ordered = Rule(rule.weights, causal=True)
        assert torch.equal(run(**leaves, rule=ordered)[:, :, :4], run(**far, rule=ordered)[:, :, :4])
        assert not torch.equal(run(**leaves, rule=ordered), run(**far, rule=ordered))


def test_a_value_that_is_not_a_number_is_not_hidden():
    leaves = inputs(4, 7, "after", batch=2)
    leaves["q"][0, 0, 1] = float("nan")
    o = rule_attention(**leaves, mask=torch.ones(7, dtype=torch.bool), implementation="require")
    assert o[0, 0, 1].isnan().all()
    assert o[1].isfinite().all()


def test_a_new_rule_is_one_row_of_the_table_in_every_implementation(monkeypatch):
    relu = Weights(
        torch.relu,
        lambda logit, out: torch.clamp_min(logit, 0.0, out=out),
        lambda grad, weight, out: torch.mul(grad, weight > 0.0, out=out),
    )
    monkeypatch.setitem(WEIGHTS, "relu", relu)
    leaves = inputs(150, 150, "before", "after", width=32)
    offset = torch.arange(150) - torch.arange(150)[:, None]

    def equation_of_relu(q, k, v, before, after):
        logit = q @ k.mT / 32**0.5 + before[:, offset + 149]
        return ((offset <= 0) * torch.relu(logit) * after[:, offset + 149]) @ v

    expected = gradients(equation_of_relu, leaves, torch.float64)
    for dtype in (torch.float64, torch.float32):
        for implementation in ("require", "reference"):
            run = partial(rule_attention, rule=Rule("relu", causal=True), implementation=implementation)
            assert largest_error(gradients(run, leaves, dtype), expected) < TOLERANCE[dtype]


def test_float16_is_as_near_to_the_reference_as_stated():
    leaves = {n: t.half() for n, t in inputs(100, 100, "before", "after").items()}
    for rule in RULES.values():
        fast = rule_attention(**leaves, rule=rule, implementation="require").double()
        judge = rule_attention(**{n: t.double() for n, t in leaves.items()}, rule=rule, implementation="reference")
        assert (fast - judge).abs().max() < 4e-3 * judge.abs().max()


def test_the_choice_is_torch_for_a_plain_softmax_and_tiles_for_the_rest():
    q, k, v = inputs(4, 7).values()
    assert choose(q, k, v).implementation == "torch scaled_dot_product_attention"
    for rule, after in ((Rule("sigmoid"), None), (Rule(window=1), None), (Rule(), torch.ones(1, 13))):
        assert choose(q, k, v, rule, after=after).implementation == "tiles in torch"
        assert choose(q, k, v, rule, after=after, implementation="reference").reason == "asked for"
    choice = choose(q.float(), k, v)
    assert choice.implementation == "reference"
    assert "different dtypes: torch.float32, torch.float64" in choice.reason


def test_demanding_the_fast_path_where_it_cannot_run_raises_with_the_reason():
    q, k, v = inputs(4, 7).values()
    with pytest.raises(RuntimeError, match="tiles in torch cannot run: q, k and v have different dtypes"):
        rule_attention(q.float(), k, v, Rule("sigmoid"), implementation="require")


def test_an_unknown_rule_and_a_negative_window_raise():
    with pytest.raises(ValueError, match="weights must be one of softmax, sigmoid, relu, not 'hard'"):
        Rule("hard")
    with pytest.raises(ValueError, match="window is a distance in tokens, at least 0, not -1"):
        Rule(window=-1)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"heads": 3, "key_heads": 2}, "3 query heads are not a multiple of 2 key and 2 value heads"),
        ({"mask": torch.ones(4, 7)}, "mask must be boolean .* not torch.float32"),
        ({"mask": torch.ones(4, 6).bool()}, r"mask \(4, 6\) does not broadcast to \(B, H, N, M\) = \(1, 2, 4, 7\)"),
        ({"bias": torch.ones(3, 4, 7)}, r"bias \(3, 4, 7\) does not broadcast"),
        ({"before": torch.ones(2, 11)}, "before has 11 diagonals; 7 tokens need 13"),
        ({"after": torch.ones(2, 14)}, r"after has the axes \(heads or 1, an odd number of offsets\), not \(2, 14\)"),
        ({"after": torch.ones(3, 13)}, r"after has the axes .* not \(3, 13\)"),
        ({"cu_seqlens": torch.tensor([0, 4])}, "a packed batch has one row and as many keys as queries"),
        ({"keys": 4, "batch": 2, "cu_seqlens": torch.tensor([0, 4])}, "a packed batch has one row"),
        ({"keys": 4, "cu_seqlens": torch.tensor([0, 4]), "mask": torch.ones(4, 4).bool()}, "takes no mask"),
        ({"keys": 4, "cu_seqlens": torch.tensor([0, 4]), "lengths": torch.tensor([4])}, "no lengths"),
    ],
)
def test_arguments_that_do_not_fit_raise(changes, message):
    sizes = {name: changes.pop(name) for name in ("heads", "key_heads", "batch") if name in changes}
    leaves = inputs(4, changes.pop("keys", 7), **sizes)
    with pytest.raises(ValueError, match=message):
        rule_attention(**leaves, **changes)


@pytest.mark.parametrize("implementation", ["require", "reference"])
def test_a_packed_sequence_longer_than_the_diagonals_raises(implementation):
    leaves: dict[str, Any] = inputs(9, 9) | {"after": torch.ones(1, 7)}
    fits, longer = (torch.tensor([0, 4, cut, 9]) for cut in (5, 4))
    rule_attention(**leaves, cu_seqlens=fits, implementation=implementation)
    with pytest.raises(ValueError, match="after has 7 diagonals; 5 tokens need 9"):
        rule_attention(**leaves, cu_seqlens=longer, implementation=implementation)
