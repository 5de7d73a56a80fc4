"""Simplified linear attention against its equation over all pairs, its two orders, and what the convolution adds."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from unimodal.attention.simplified_linear import SimplifiedLinearAttention
from unimodal.mixers.full import Full
from unimodal.part import Part
from unimodal.part_checks import part_checks
from unimodal.side import Side

GRID, HEADS, WIDTH = (3, 4), 2, 5
ORDERS = ("cost", "keys", "pairs")


def rule(order: str = "cost", grid: tuple[int, int] = GRID) -> SimplifiedLinearAttention:
    attention = SimplifiedLinearAttention(heads=HEADS, width=WIDTH, grid=grid, order=order).double()
    torch.nn.init.normal_(attention.position.table)
    return attention


def qkv(tokens: int, batch: int = 2, **options: Any) -> list[torch.Tensor]:
    return [torch.randn(batch, HEADS, tokens, WIDTH, dtype=torch.float64, **options) for _ in range(3)]


def equation(attention, q, k, v, grid, prefix):
    """o_n = sum_m w_nm v_m / (sum_m w_nm + 1e-6) and the weighted values of the cells around n."""
    places = attention.position.on(grid).unflatten(-1, (HEADS, WIDTH))
    weight, bias = attention.around.weight, attention.around.bias
    out, (rows, columns) = torch.zeros_like(v), grid
    for b in range(len(q)):
        for h in range(HEADS):
            keys = [k[b, h, m] + (places[m - prefix, h] if m >= prefix else 0.0) for m in range(q.shape[2])]
            for n in range(q.shape[2]):
                w = [(q[b, h, n].relu() * key.relu()).sum() for key in keys]
                total = sum(w) + 1e-6
                out[b, h, n] = sum(w_m * v[b, h, m] for m, w_m in enumerate(w)) / total
                if n < prefix:
                    continue
                row, column = divmod(n - prefix, columns)
                out[b, h, n] += bias
                for i in range(5):
                    for j in range(5):
                        r, c = row + i - 2, column + j - 2
                        if 0 <= r < rows and 0 <= c < columns:
                            out[b, h, n] += weight[:, 0, i, j] * v[b, h, prefix + r * columns + c]
    return out


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("prefix", [0, 1])
def test_it_equals_the_equation_over_all_pairs(order, prefix):
    attention, inputs = rule(order), qkv(prefix + 12)
    with torch.no_grad():
        q, k, v = inputs
        want = equation(attention, q, k, v, GRID, prefix)
        got = attention(*inputs, Side(grid=GRID, prefix=prefix))
    torch.testing.assert_close(got, want, rtol=0, atol=1e-10)


@pytest.mark.parametrize("order", ORDERS)
def test_gradients_of_inputs_and_parameters_are_right(order):
    attention, side = rule(order, grid=(1, 3)), Side(grid=(1, 3), prefix=1)
    assert torch.autograd.gradcheck(lambda q, k, v: attention(q, k, v, side), qkv(4, batch=1, requires_grad=True))
    inputs = qkv(4, batch=1)
    table, kernel = (p.detach().clone().requires_grad_() for p in (attention.position.table, attention.around.weight))

    def of_parameters(table, kernel):
        own = {"position.table": table, "around.weight": kernel}
        return torch.func.functional_call(attention, own, (*inputs, side))

    assert torch.autograd.gradcheck(of_parameters, (table, kernel))


@pytest.mark.parametrize("dtype, allowed", [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_both_orders_of_the_products_agree(dtype, allowed):
    inputs = [x.to(dtype) for x in qkv(196)]
    keys, pairs = rule("keys", (14, 14)).to(dtype), rule("pairs", (14, 14)).to(dtype)
    pairs.load_state_dict(keys.state_dict())
    side = Side(grid=(14, 14))
    torch.testing.assert_close(keys(*inputs, side), pairs(*inputs, side), rtol=0, atol=allowed)


@pytest.mark.parametrize("tokens, first", [(4, "pairs"), (5, "pairs"), (6, "keys"), (12, "keys")])
def test_the_order_with_fewer_products_is_taken(tokens, first):
    products = {"pairs": tokens * tokens * 2 * WIDTH, "keys": WIDTH * WIDTH * 2 * tokens}
    assert products[first] == min(products.values())
    inputs, side = [x.float() for x in qkv(tokens)], Side(grid=(1, tokens))
    chosen, other = (rule(order).float() for order in ("cost", first))
    other.load_state_dict(chosen.state_dict())
    assert torch.equal(chosen(*inputs, side), other(*inputs, side))


def test_weights_sum_to_one_apart_from_the_small_term_and_none_is_negative():
    attention = SimplifiedLinearAttention(heads=HEADS, width=WIDTH, grid=GRID, order="keys").double()
    attention.requires_grad_(False)
    for parameter in attention.around.parameters():
        parameter.zero_()
    q, k, _ = qkv(12)
    for value in torch.eye(12, dtype=torch.float64)[:, :, None].expand(12, 12, WIDTH):
        weight = attention(q, k, value.expand(2, HEADS, 12, WIDTH).contiguous(), Side(grid=GRID))
        assert bool((weight >= 0).all())
    total = attention(q, k, torch.ones_like(q), Side(grid=GRID))
    mass = (q.relu() @ k.relu().mT).sum(-1, keepdim=True)
    torch.testing.assert_close(total, (mass / (mass + 1e-6)).expand_as(total), rtol=0, atol=1e-12)


def test_a_query_without_a_positive_number_gets_the_convolution_alone():
    attention, (q, k, v) = rule(), qkv(12)
    q = q.clone()
    q[:, :, 3] = -q[:, :, 3].abs()
    o = attention(q, k, v, Side(grid=GRID))
    map_SKYX = v.flatten(0, 1).mT.unflatten(-1, GRID)
    around = F.conv2d(map_SKYX, attention.around.weight, attention.around.bias, padding=2, groups=WIDTH)
    torch.testing.assert_close(o[:, :, 3], around.flatten(2)[..., 3].unflatten(0, (2, HEADS)), rtol=0, atol=1e-12)


def test_every_head_has_the_same_convolution_and_places_of_its_own():
    attention, (q, k, v) = rule(), qkv(12)
    q, k, v = (x[:, :1].expand(-1, HEADS, -1, -1).contiguous() for x in (q, k, v))
    assert not torch.equal(*attention(q, k, v, Side(grid=GRID)).unbind(1))
    torch.nn.init.zeros_(attention.position.table)
    assert torch.equal(*attention(q, k, v, Side(grid=GRID)).unbind(1))


def test_places_start_at_zero_and_other_lattices_resample_them():
    fresh = SimplifiedLinearAttention(heads=HEADS, width=WIDTH, grid=GRID)
    assert not fresh.position.table.any()
    attention, (q, k, v) = rule(), qkv(30)
    with torch.no_grad():
        want = equation(attention, q, k, v, (5, 6), 0)
        torch.testing.assert_close(attention(q, k, v, Side(grid=(5, 6))), want, rtol=0, atol=1e-10)


@pytest.mark.parametrize("order", ORDERS[1:])
def test_sums_of_bfloat16_inputs_are_taken_in_float32(order):
    attention = rule(order, (14, 14))
    attention, inputs, side = attention.bfloat16(), [x.bfloat16() for x in qkv(196)], Side(grid=(14, 14))
    with torch.no_grad():
        got = attention(*inputs, side)
        want = attention.double()(*(x.double() for x in inputs), side)
    assert got.dtype == torch.bfloat16
    # p + k, the convolution and the result are rounded to 8 bits, nothing else
    assert float((got - want).abs().max()) < 4 * 2**-8 * float(want.abs().max())


def test_a_mixer_around_it_has_the_released_parameters():
    """qkv and out with their biases, one table and one convolution over a head's channels."""
    mixer = Full(192, heads=3, attention=Part(SimplifiedLinearAttention, heads=3, width=64, grid=(14, 14)))
    expected = 192 * 576 + 576 + 192 * 192 + 192 + 196 * 192 + 25 * 64 + 64
    assert sum(p.numel() for p in mixer.parameters()) == expected
    assert mixer(torch.randn(2, 196, 192), Side(grid=(14, 14))).shape == (2, 196, 192)


@pytest.mark.parametrize("order", ORDERS[1:])
@pytest.mark.parametrize("check", part_checks("attention", SimplifiedLinearAttention))
def test_every_order_keeps_the_contracts_of_attention_rules(order, check):
    part_checks("attention", SimplifiedLinearAttention, order=order)[check]()


def test_an_unknown_order_and_an_even_kernel_are_refused():
    with pytest.raises(ValueError, match="order must be 'cost', 'keys' or 'pairs', not 'values'"):
        SimplifiedLinearAttention(heads=2, width=4, grid=GRID, order="values")
    with pytest.raises(ValueError, match="kernel must be odd"):
        SimplifiedLinearAttention(heads=2, width=4, grid=GRID, kernel=4)


def test_other_heads_and_other_lattices_are_refused():
    q, k, v = qkv(12)
    with pytest.raises(ValueError, match="k must have 2 heads of width 5"):
        rule()(q, k[:, :1], v, Side(grid=GRID))
    with pytest.raises(ValueError, match="v must have 2 heads of width 5"):
        rule()(q, k, v[:, :, :6], Side(grid=GRID))
    with pytest.raises(ValueError, match=r"side\.grid .* is needed here"):
        rule()(q, k, v)
    with pytest.raises(ValueError, match=r"the position table has the lattice \(3, 4\), the tokens \(12,\)"):
        rule()(q, k, v, Side(grid=(12,)))


@pytest.mark.parametrize("name", ["mask", "bias", "causal", "memory"])
def test_a_constraint_it_cannot_honour_is_refused(name):
    mask, level = torch.ones(12, 12, dtype=torch.bool), torch.zeros(12, 12)
    value: Any = {"mask": mask, "bias": level, "causal": True, "memory": level}[name]
    with pytest.raises(ValueError, match=f"'{name}' is set and not supported"):
        rule()(*qkv(12), Side(grid=GRID, **{name: value}))
