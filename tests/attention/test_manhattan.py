"""Manhattan attention against its equations in loops, its limits, and what the two forms have in common."""

import math
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from unimodal.attention import manhattan
from unimodal.attention.manhattan import ManhattanAttention
from unimodal.manhattan_decay import decay_rates
from unimodal.part_checks import part_checks
from unimodal.side import Side

FORMS = [(decay, decomposed) for decay in ("bias", "multiply") for decomposed in (False, True)]
every_form = pytest.mark.parametrize("decay, decomposed", FORMS)


def qkv(heads: int, tokens: int, batch: int = 2, width: int = 4, **options: Any) -> list[torch.Tensor]:
    return [torch.randn(batch, heads, tokens, width, dtype=torch.float64, **options) for _ in range(3)]


def weights(logits, apart, rate, decay):
    """One query's weights, from its logits and distances to all keys."""
    if decay == "bias":
        share = (logits + rate * apart).exp()
        return share / share.sum()
    return logits.exp() / logits.exp().sum() * math.exp(rate) ** apart


def equation(q, k, v, grid, rates, decay):
    places = list(product(*map(range, grid)))
    out = torch.zeros_like(v)
    for b, h, n in product(range(len(q)), range(q.shape[1]), range(len(places))):
        apart = torch.tensor([sum(abs(i - j) for i, j in zip(places[n], p, strict=True)) for p in places])
        w = weights(k[b, h] @ q[b, h, n] / q.shape[-1] ** 0.5, apart.double(), rates[h], decay)
        out[b, h, n] = w @ v[b, h]
    return out


def equation_by_axes(q, k, v, grid, rates, decay):
    """v <- A_x v within rows, then A_y v within columns, with the same q and k."""
    rows, columns = grid
    lines = [[r * columns + c for c in range(columns)] for r in range(rows)]
    for some in (lines, [[r * columns + c for r in range(rows)] for c in range(columns)]):
        out = torch.zeros_like(v)
        for line in some:
            at = torch.tensor(line)
            out[:, :, at] = equation(q[:, :, at], k[:, :, at], v[:, :, at], (len(line),), rates, decay)
        v = out
    return v


@every_form
@pytest.mark.parametrize("grid", [(3, 4), (1, 5), (4, 1), (1, 1)])
def test_it_equals_the_equation(grid, decay, decomposed):
    q, k, v = qkv(3, grid[0] * grid[1])
    rule = ManhattanAttention(decay=decay, decomposed=decomposed, initial=1.0, spread=3.0)
    want = (equation_by_axes if decomposed else equation)(q, k, v, grid, decay_rates(3, 1.0, 3.0), decay)
    torch.testing.assert_close(rule(q, k, v, Side(grid=grid)), want, rtol=0, atol=1e-12)


def test_the_decay_of_a_line_is_the_same_as_a_table_and_as_diagonals(monkeypatch):
    q, k, v = qkv(3, 12)
    rule, side = ManhattanAttention(decomposed=True), Side(grid=(3, 4))
    table = rule(q, k, v, side)
    monkeypatch.setattr(manhattan, "SHORT", 0)
    torch.testing.assert_close(rule(q, k, v, side), table, rtol=0, atol=1e-12)


@every_form
def test_gradients_of_queries_keys_and_values_are_right(decay, decomposed):
    rule, side = ManhattanAttention(decay=decay, decomposed=decomposed), Side(grid=(2, 3), prefix=1)
    leaves = qkv(2, 7, batch=1, width=2, requires_grad=True)
    assert torch.autograd.gradcheck(lambda q, k, v: rule(q, k, v, side), leaves)
    free = [leaf[:, :, 1:].detach().requires_grad_() for leaf in leaves]  # through the tiles, without a prefix
    assert torch.autograd.gradcheck(lambda q, k, v: rule(q, k, v, Side(grid=(2, 3))), free)


@every_form
def test_without_decay_it_is_plain_attention_over_the_lattice_or_along_its_axes(decay, decomposed):
    q, k, v = qkv(2, 12)
    rule = ManhattanAttention(decay=decay, decomposed=decomposed, initial=math.inf)
    want = v if decomposed else F.scaled_dot_product_attention(q, k, v)
    for axis in (3, 2) if decomposed else ():
        of_q, of_k, of_v = (x.unflatten(2, (3, 4)).movedim(axis, -2) for x in (q, k, want))
        want = F.scaled_dot_product_attention(of_q, of_k, of_v).movedim(-2, axis).flatten(2, 3)
    torch.testing.assert_close(rule(q, k, v, Side(grid=(3, 4))), want, rtol=0, atol=1e-12)


@every_form
def test_with_an_endless_decay_a_token_sees_itself_alone(monkeypatch, decay, decomposed):
    q, k, v = qkv(2, 12)
    rule = ManhattanAttention(decay=decay, decomposed=decomposed)
    monkeypatch.setattr(rule, "rates", lambda q: torch.full((q.shape[1],), -1e4, dtype=q.dtype))
    o = rule(q, k, v, Side(grid=(3, 4)))
    if decay == "bias":
        torch.testing.assert_close(o, v, rtol=0, atol=1e-12)
    else:  # what is left is the softmax's own share of the token
        share = (o / v).mean(-1, keepdim=True)
        torch.testing.assert_close(o, share * v, rtol=1e-10, atol=1e-12)
        assert bool((share > 0).all())
        assert bool((share < 1).all())


@pytest.mark.parametrize("decay", ["bias", "multiply"])
def test_with_equal_tokens_the_passes_multiply_to_the_whole_kernel(decay):
    cells = 4 * 5
    nothing, one_hot = torch.zeros(1, 3, cells, 2, dtype=torch.float64), torch.eye(cells, dtype=torch.float64)
    values, side = one_hot.expand(1, 3, -1, -1), Side(grid=(4, 5))
    whole, passes = (
        ManhattanAttention(decay=decay, decomposed=d)(nothing, nothing, values, side) for d in (False, True)
    )
    torch.testing.assert_close(whole, passes, rtol=0, atol=1e-14)
    if decay == "multiply":
        row, column = torch.arange(cells) // 5, torch.arange(cells) % 5
        apart = (row - row[:, None]).abs() + (column - column[:, None]).abs()
        gamma = torch.tensor(decay_rates(3, 2.0, 4.0), dtype=torch.float64).exp()
        torch.testing.assert_close(whole[0] * cells, gamma[:, None, None] ** apart, rtol=0, atol=1e-12)
    else:
        torch.testing.assert_close(whole.sum(-1), torch.ones(1, 3, cells, dtype=torch.float64))


@pytest.mark.parametrize("decay", ["bias", "multiply"])
def test_for_other_tokens_the_passes_are_not_the_whole_form(decay):
    q, k, v = qkv(2, 12)
    whole, passes = (ManhattanAttention(decay=decay, decomposed=d)(q, k, v, Side(grid=(3, 4))) for d in (False, True))
    assert float((whole - passes).abs().max()) > 1e-2


def test_rows_sum_to_one_with_a_bias_and_to_less_with_a_factor():
    q, k, _ = qkv(2, 12)
    ones = torch.ones(2, 2, 12, 1, dtype=torch.float64)
    for decomposed in (False, True):
        bias, factor = (
            ManhattanAttention(decay=d, decomposed=decomposed)(q, k, ones, Side(grid=(3, 4)))
            for d in ("bias", "multiply")
        )
        torch.testing.assert_close(bias, ones)
        assert bool((factor < 1).all())


@every_form
def test_one_axis_has_one_form_and_an_axis_of_one_cell_changes_nothing(decay, decomposed):
    q, k, v = qkv(2, 12)
    rule, whole = ManhattanAttention(decay=decay, decomposed=decomposed), ManhattanAttention(decay=decay)
    line, flat = Side(grid=(12,)), Side(grid=(3, 4))
    torch.testing.assert_close(rule(q, k, v, line), whole(q, k, v, line), rtol=0, atol=1e-12)
    torch.testing.assert_close(rule(q, k, v, Side(grid=(3, 1, 4))), rule(q, k, v, flat), rtol=0, atol=1e-12)


@every_form
def test_three_axes_are_read(decay, decomposed):
    q, k, v = qkv(2, 12, batch=1)
    o = ManhattanAttention(decay=decay, decomposed=decomposed)(q, k, v, Side(grid=(2, 3, 2)))
    if not decomposed:
        torch.testing.assert_close(o, equation(q, k, v, (2, 3, 2), decay_rates(2, 2.0, 4.0), decay), rtol=0, atol=1e-12)
    moved = v.clone()
    moved[:, :, 11] += 1.0  # the furthest cell reaches the first one in three passes
    after = ManhattanAttention(decay=decay, decomposed=decomposed)(q, k, moved, Side(grid=(2, 3, 2)))
    assert bool((after != o)[:, :, 0].all())


@every_form
def test_a_prefix_token_is_at_no_distance(decay, decomposed):
    """In the whole form by the equation, decomposed as the mean over the lines of what it gets in each."""
    q, k, v = qkv(2, 1 + 6, batch=1)
    rule = ManhattanAttention(decay=decay, decomposed=decomposed)
    o = rule(q, k, v, Side(grid=(2, 3), prefix=1))
    if not decomposed:
        plain = F.scaled_dot_product_attention(q[:, :, :1], k, v)
        torch.testing.assert_close(o[:, :, :1], plain, rtol=0, atol=1e-12)
        return
    whole = ManhattanAttention(decay=decay)
    for lines in ([[1, 2, 3], [4, 5, 6]], [[1, 4], [2, 5], [3, 6]]):
        parts, out = [], torch.zeros_like(v)
        for line in lines:
            at = torch.tensor([0, *line])
            part = whole(q[:, :, at], k[:, :, at], v[:, :, at], Side(grid=(len(line),), prefix=1))
            parts.append(part[:, :, 0])
            out[:, :, at[1:]] = part[:, :, 1:]
        out[:, :, 0] = torch.stack(parts).mean(0)
        v = out
    torch.testing.assert_close(o, v, rtol=0, atol=1e-12)


@every_form
def test_a_sequence_without_tokens_changes_nothing_in_a_packed_batch(decay, decomposed):
    q, k, v = qkv(2, 10, batch=1)
    rule = ManhattanAttention(decay=decay, decomposed=decomposed)
    packed, without = (
        Side(grids=grids, cu_seqlens=torch.tensor(ends, dtype=torch.int32))
        for grids, ends in ((((2, 3), (0, 2), (1, 4)), [0, 6, 6, 10]), (((2, 3), (1, 4)), [0, 6, 10]))
    )
    assert torch.equal(rule(q, k, v, packed), rule(q, k, v, without))


@every_form
def test_any_lattice_is_read_by_the_same_rule(decay, decomposed):
    rule = ManhattanAttention(decay=decay, decomposed=decomposed)
    assert not list(rule.parameters())
    for side in (7, 8, 10):
        q, k, v = (x.float() for x in qkv(4, side * side, batch=1))
        assert bool(rule(q, k, v, Side(grid=(side, side))).isfinite().all())


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("check", part_checks("attention", ManhattanAttention))
def test_every_form_keeps_the_contracts_of_attention_rules(form, check):
    part_checks("attention", ManhattanAttention, decay=form[0], decomposed=form[1])[check]()


def test_an_unknown_form_is_refused():
    with pytest.raises(ValueError, match="decay must be 'bias' or 'multiply', not 'add'"):
        ManhattanAttention(decay="add")


@pytest.mark.parametrize("numbers", [{"initial": 0.0}, {"initial": 1.0, "spread": -1.0}])
def test_gammas_outside_of_their_range_are_refused(numbers):
    with pytest.raises(ValueError, match="must lie within"):
        ManhattanAttention(**numbers)


def test_a_missing_lattice_and_other_keys_are_refused():
    q, k, v = qkv(2, 6)
    with pytest.raises(ValueError, match=r"side\.grid .* is needed here"):
        ManhattanAttention()(q, k, v)
    with pytest.raises(ValueError, match="but the sequence 6 tokens"):
        ManhattanAttention()(q, k, v, Side(grid=(2, 2)))
    with pytest.raises(ValueError, match="attend to one another"):
        ManhattanAttention()(q, k[:, :, :4], v[:, :, :4], Side(grid=(2, 3)))


@pytest.mark.parametrize("name", ["mask", "bias", "causal"])
def test_what_spans_the_axes_is_refused_by_the_decomposed_form(name):
    q, k, v = qkv(2, 6)
    value: Any = {"mask": torch.ones(6, 6, dtype=torch.bool), "bias": torch.zeros(6, 6), "causal": True}[name]
    with pytest.raises(ValueError, match=f"'{name}' is set and not supported"):
        ManhattanAttention(decomposed=True)(q, k, v, Side(grid=(2, 3), **{name: value}))


@pytest.mark.parametrize("name", ["mask", "bias"])
def test_what_spans_the_sequences_is_refused_in_a_packed_batch(name):
    q, k, v = qkv(2, 6, batch=1)
    value: Any = torch.ones(6, 6, dtype=torch.bool) if name == "mask" else torch.zeros(6, 6)
    side = Side(grids=((2, 3),), cu_seqlens=torch.tensor([0, 6], dtype=torch.int32), **{name: value})
    with pytest.raises(ValueError, match=f"'{name}' is set and not supported"):
        ManhattanAttention()(q, k, v, side)
