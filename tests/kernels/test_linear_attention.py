"""Linear attention against its equation, row by row in float64: outputs and gradients of every implementation."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from unimodal.kernels import linear_tiles
from unimodal.kernels.linear_attention import advance, choose, linear_attention
from unimodal.kernels.linear_rule import FEATURES, LinearRule

TOLERANCE = {torch.float64: 1e-10, torch.float32: 2e-5, torch.bfloat16: 2e-2, torch.float16: 4e-3}
RULES = {
    "plain": LinearRule(),
    "elu": LinearRule("elu"),
    "normalised elu + 1": LinearRule("elu_plus_one", normalised=True, eps=1e-3),
    "causal": LinearRule("elu", causal=True),
    "causal normalised relu": LinearRule("relu", causal=True, normalised=True, eps=0.1),
    "retention": LinearRule(causal=True),
    "normalised retention": LinearRule("elu_plus_one", causal=True, normalised=True, eps=1e-3),
}
DECAYED = ("retention", "normalised retention")
PHI = {
    "identity": lambda x: x,
    "relu": lambda x: torch.where(x > 0, x, 0.0),
    "elu": lambda x: torch.where(x > 0, x, x.exp() - 1),
    "elu_plus_one": lambda x: torch.where(x > 0, x + 1, x.exp()),
}


def equation(q: Tensor, k: Tensor, v: Tensor, rule: LinearRule, decay=None, mask=None, lengths=None) -> Tensor:
    """o_n = sum_m w_nm v_m [/ (sum_m w_nm + eps)], w_nm = g^(n + M - N - m) phi(q_n) phi(k_m)."""
    (batch, heads, queries, _), keys, rows = q.shape, k.shape[2], []
    leaves = [t.sum() for t in (q, k, v, decay) if t is not None]
    nothing = 0.0 * torch.stack(leaves).sum().expand(v.shape[3])
    phi = PHI[rule.features]
    for b in range(batch):
        for h in range(heads):
            g = h * k.shape[1] // heads
            for n in range(queries):
                back = n + keys - queries - torch.arange(keys)
                seen = torch.arange(keys) < (keys if lengths is None else int(lengths[b]))
                seen = seen & (back >= 0) if rule.causal else seen
                seen = seen if mask is None else seen & mask.expand(batch, heads, queries, keys)[b, h, n]
                weight = phi(k[b, g, seen]) @ phi(q[b, h, n])
                if decay is not None:
                    weight = weight * decay[h].exp() ** back[seen]
                o, total = weight @ v[b, g, seen], weight.sum() + rule.eps
                rows.append(nothing if rule.normalised and total == 0 else o / total if rule.normalised else o)
    return torch.stack(rows or [nothing])[: len(rows)].reshape(batch, heads, queries, v.shape[3])


def inputs(queries: int, keys: int, *, decayed=False, heads=2, key_heads=1, batch=1, width=8) -> dict[str, Any]:
    """Exact in bfloat16, so that every dtype computes the same problem; decays from 0.37 to 1."""
    shapes = {"q": (heads, queries, width), "k": (key_heads, keys, width), "v": (key_heads, keys, 5)}
    found = {name: torch.randn(batch, *shape).bfloat16().double() for name, shape in shapes.items()}
    return found | ({"decay": torch.linspace(-1.0, 0.0, heads).bfloat16().double()} if decayed else {})


def gradients(run, leaves: dict[str, Any], dtype: torch.dtype, **fixed) -> list[Tensor]:
    """The output and the gradient of <output, probe> for every leaf, in float64; decays stay in float32 at least."""
    wide = torch.promote_types(dtype, torch.float32)
    used = {n: t.to(wide if n == "decay" else dtype, copy=True).requires_grad_() for n, t in leaves.items()}
    out = run(**used, **fixed)
    assert out.dtype == dtype
    probe = torch.randn(out.shape, generator=torch.Generator().manual_seed(7)).bfloat16()
    out.backward(probe.to(dtype))
    found = [out.detach(), *(t.grad for t in used.values() if t.grad is not None)]
    assert [t.dtype for t in found[1:]] == [t.dtype for t in used.values()]
    return [t.double() for t in found]


def largest_error(got: list[Tensor], expected: list[Tensor]) -> float:
    pairs = [(a, b) for a, b in zip(got, expected, strict=True) if b.numel()]
    return max((float((a - b).abs().max() / b.abs().max().clamp_min(1e-2)) for a, b in pairs), default=0.0)


def both(rule: LinearRule) -> list[partial[Tensor]]:
    return [partial(linear_attention, rule=rule, implementation=name) for name in ("require", "reference")]


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 100, 257])
def test_outputs_and_gradients_equal_the_equation_in_every_dtype(size, name):
    leaves = inputs(size, size, decayed=name in DECAYED, width=16)
    expected = gradients(equation, leaves, torch.float64, rule=RULES[name])
    for dtype, allowed in TOLERANCE.items():
        for run in both(RULES[name]):
            assert largest_error(gradients(run, leaves, dtype), expected) < allowed, (dtype, run)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("queries, keys", [(5, 9), (9, 5), (0, 3), (3, 0), (1, 200), (70, 140)])
def test_with_another_number_of_keys_the_last_query_stands_beside_the_last_key(queries, keys, name):
    leaves = inputs(queries, keys, decayed=name in DECAYED)
    expected = gradients(equation, leaves, torch.float64, rule=RULES[name])
    for run in both(RULES[name]):
        assert largest_error(gradients(run, leaves, torch.float64), expected) < 1e-10


@pytest.mark.parametrize("shape", [(7,), (1, 7), (2, 1, 7), (2, 1, 1, 7), (2, 2, 1, 7), (2, 1, 1, 1)])
@pytest.mark.parametrize("name", RULES)
def test_masks_of_keys_broadcast_from_the_right_and_stay_linear(name, shape):
    leaves, mask = inputs(7, 7, decayed=name in DECAYED, batch=2), torch.rand(shape) < 0.5
    expected = gradients(equation, leaves, torch.float64, rule=RULES[name], mask=mask)
    for run in both(RULES[name]):
        assert largest_error(gradients(run, leaves, torch.float64, mask=mask), expected) < 1e-10


@pytest.mark.parametrize("name", RULES)
def test_a_mask_of_pairs_is_obeyed_over_all_pairs(name):
    leaves, mask = inputs(6, 7, decayed=name in DECAYED, batch=2), torch.rand(2, 1, 6, 7) < 0.5
    expected = gradients(equation, leaves, torch.float64, rule=RULES[name], mask=mask)
    run = partial(linear_attention, rule=RULES[name])
    assert largest_error(gradients(run, leaves, torch.float64, mask=mask), expected) < 1e-10


@pytest.mark.parametrize("key_heads", [1, 2, 3, 6])
@pytest.mark.parametrize("name", RULES)
def test_each_group_of_query_heads_reads_its_own_key_head(name, key_heads):
    leaves = inputs(70, 70, decayed=name in DECAYED, heads=6, key_heads=key_heads, batch=2)
    expected = gradients(equation, leaves, torch.float64, rule=RULES[name])
    for run in both(RULES[name]):
        assert largest_error(gradients(run, leaves, torch.float64), expected) < 1e-10


@pytest.mark.parametrize("name", RULES)
def test_padded_and_packed_sequences_equal_each_one_alone_with_gradients(name):
    rule, sizes = RULES[name], [70, 5, 0, 1]
    leaves = inputs(70, 70, decayed=name in DECAYED, heads=4, key_heads=2, batch=4)
    lengths, cu = torch.tensor(sizes), torch.tensor([0, 70, 75, 75, 76], dtype=torch.int32)
    expected = gradients(equation, leaves, torch.float64, rule=rule, lengths=lengths)

    def real(x: Tensor) -> Tensor:
        return torch.cat([row[:, :n] for row, n in zip(x, sizes, strict=True)], 1)[None]

    def one_by_one(q, k, v, decay=None):
        spans = [slice(0, 70), slice(70, 75), slice(75, 76)]
        return torch.cat([equation(q[:, :, s], k[:, :, s], v[:, :, s], rule, decay) for s in spans], 2)

    joined = leaves | {n: real(leaves[n]) for n in "qkv"}
    alone = gradients(one_by_one, joined, torch.float64)
    for run in both(rule):
        padded = gradients(run, leaves, torch.float64, lengths=lengths)
        assert largest_error(padded, expected) < 1e-10
        torch.testing.assert_close(real(padded[0]), alone[0], rtol=0, atol=1e-11)
        assert largest_error(gradients(run, joined, torch.float64, cu_seqlens=cu), alone) < 1e-10


@pytest.mark.parametrize("name", [n for n, rule in RULES.items() if rule.causal])
@pytest.mark.parametrize("pieces", [(1,) * 9, (4, 0, 5), (130, 1, 70)])
def test_steps_and_pieces_that_hand_on_their_state_equal_the_whole_with_gradients(name, pieces):
    rule, tokens = RULES[name], sum(pieces)
    leaves = inputs(tokens, tokens, decayed=name in DECAYED, heads=4, key_heads=2, batch=2)

    def stepwise(q, k, v, decay=None):
        state, found = torch.zeros(2, 4, 8, 5 + rule.normalised), []
        for x, y, z in zip(*(t.split(pieces, 2) for t in (q, k, v)), strict=True):
            o, state = advance(x, y, z, rule, state, decay=decay)
            found.append(o)
        assert state.shape == (2, 4, 8, 5 + rule.normalised)  # whatever the number of tokens is
        return torch.cat(found, 2)

    expected = gradients(partial(linear_attention, rule=rule, implementation="reference"), leaves, torch.float64)
    assert largest_error(gradients(stepwise, leaves, torch.float64), expected) < 1e-10


def test_sequences_of_a_packed_batch_have_a_state_each():
    rule, leaves = LinearRule("elu_plus_one", causal=True, normalised=True), inputs(9, 9, key_heads=2, decayed=True)
    decay = leaves.pop("decay")
    o, state = advance(**leaves, rule=rule, decay=decay, cu_seqlens=torch.tensor([0, 3, 3, 9]))
    for index, span in enumerate((slice(0, 3), slice(3, 3), slice(3, 9))):
        alone, left = advance(*(leaves[n][:, :, span] for n in "qkv"), rule=rule, decay=decay)
        torch.testing.assert_close(o[:, :, span], alone, rtol=0, atol=1e-12)
        torch.testing.assert_close(state[index], left[0], rtol=0, atol=1e-12)


def test_the_gradient_of_a_state_is_that_of_finite_differences():
    rule = LinearRule("elu_plus_one", causal=True, normalised=True, eps=0.1)
    leaves = inputs(3, 3, heads=2, key_heads=2, decayed=True, width=2)
    state = torch.rand(1, 2, 2, 6, dtype=torch.float64)
    tensors = tuple(t.requires_grad_() for t in (*leaves.values(), state))

    def run(q, k, v, decay, state):
        return advance(q, k, v, rule, state, decay=decay)

    assert torch.autograd.gradcheck(run, tensors)


@pytest.mark.parametrize("chunk, cells", [(1, 1), (3, 64), (7, 1000)])
def test_the_size_of_a_tile_does_not_matter(monkeypatch, chunk, cells):
    monkeypatch.setattr(linear_tiles, "CHUNK", chunk)
    monkeypatch.setattr(linear_tiles, "CELLS", cells)
    for name, rule in RULES.items():
        leaves = inputs(23, 23, decayed=name in DECAYED, heads=4, key_heads=2, batch=3)
        expected = gradients(equation, leaves, torch.float64, rule=rule)
        run = partial(linear_attention, rule=rule, implementation="require")
        assert largest_error(gradients(run, leaves, torch.float64), expected) < 1e-10


def test_a_decay_of_one_is_none_and_a_decay_of_nothing_leaves_each_token_alone():
    q, k, v = (torch.randn(2, 3, 100, 8, dtype=torch.float64) for _ in range(3))
    rule = LinearRule(causal=True)
    none = linear_attention(q, k, v, rule, decay=torch.zeros(3))
    torch.testing.assert_close(none, linear_attention(q, k, v, rule), rtol=0, atol=1e-11)
    alone = linear_attention(q, k, v, rule, decay=torch.full((3,), -1e4))
    torch.testing.assert_close(alone, (q * k).sum(-1, keepdim=True) * v, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", FEATURES)
def test_maps_of_tiles_equal_their_equation_and_its_derivative(name):
    x = torch.randn(1000, dtype=torch.float64, requires_grad=True)
    grad, phi = torch.randn(1000, dtype=torch.float64), FEATURES[name].equation(x)
    torch.testing.assert_close(phi, PHI[name](x), rtol=0, atol=1e-14)
    phi.backward(grad)
    with torch.no_grad():
        torch.testing.assert_close(FEATURES[name].make(x.detach()), phi, rtol=0, atol=1e-14)
        torch.testing.assert_close(FEATURES[name].pull_back(grad, x.detach()), x.grad, rtol=0, atol=1e-14)


@pytest.mark.parametrize("implementation", ["require", "reference"])
def test_what_is_not_seen_has_no_influence_and_rows_without_keys_are_zero(implementation):
    leaves = inputs(200, 200)
    mask = torch.ones(200, dtype=torch.bool)
    mask[70] = False
    far = leaves | {n: leaves[n].index_fill(2, torch.tensor([70]), 1e3) for n in "kv"}
    for rule in RULES.values():
        run = partial(linear_attention, rule=rule, implementation=implementation)
        assert torch.equal(run(**leaves, mask=mask), run(**far, mask=mask))
        assert not run(**leaves, mask=torch.zeros(1, dtype=torch.bool)).any()
        if rule.causal:
            assert torch.equal(run(**leaves)[:, :, :70], run(**far)[:, :, :70])
            assert not torch.equal(run(**leaves)[:, :, 70:], run(**far)[:, :, 70:])


@pytest.mark.parametrize("causal", [False, True])
def test_a_normaliser_whose_reciprocal_is_too_large_divides_all_the_same(causal):
    q, k = torch.full((1, 1, 5, 8), 1e-20), torch.full((1, 1, 5, 8), 1e-20)
    v = torch.randn(1, 1, 1, 3).expand(1, 1, 5, 3)
    o = linear_attention(q, k, v, LinearRule(causal=causal, normalised=True))
    torch.testing.assert_close(o, v, rtol=1e-3, atol=0)  # numbers of 8e-40 have 19 bits


def test_on_cuda_the_choice_is_triton_where_its_registers_hold_the_state():
    with FakeTensorMode():
        narrow, wide = (torch.empty(1, 1, 4, width, device="cuda") for width in (128, 129))
    assert choose(narrow, narrow, narrow).implementation == "sums with a state in Triton"
    for q, v in ((wide, narrow), (narrow, wide), (narrow, narrow.half()), (narrow.double(), narrow.double())):
        assert choose(q, q, v).implementation == "tiles with a state in torch"


def test_demanding_the_linear_form_where_it_cannot_run_raises_with_the_reason():
    q, k, v = inputs(4, 7).values()
    pairs = torch.ones(4, 7, dtype=torch.bool)
    assert choose(q, k, v).implementation == "tiles with a state in torch"
    assert choose(q, k, v, mask=pairs).reason == "a mask of pairs has no linear form"
    assert choose(q, k.float(), v).implementation == "reference"
    with pytest.raises(RuntimeError, match="a mask of pairs has no linear form"):
        linear_attention(q, k, v, mask=pairs, implementation="require")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"k": torch.randn(1, 2, 4, 8)}, "3 query heads are not a multiple of 2 key and 1 value heads"),
        ({"decay": torch.zeros(3), "rule": LinearRule()}, "decay counts tokens back: it needs causal order"),
        ({"decay": torch.zeros(2)}, "decay is one number a head, 3 of them"),
        ({"mask": torch.ones(4)}, "mask must be boolean"),
        ({"cu_seqlens": torch.tensor([0, 4]), "q": torch.randn(1, 3, 5, 8)}, "as many keys as queries"),
        ({"cu_seqlens": torch.tensor([0, 4]), "lengths": torch.tensor([4])}, "no mask and no lengths"),
    ],
)
def test_arguments_that_do_not_fit_raise(changes, message):
    arguments = {"q": torch.randn(1, 3, 4, 8), "k": torch.randn(1, 1, 4, 8), "v": torch.randn(1, 1, 4, 8)}
    with pytest.raises(ValueError, match=message):
        linear_attention(**arguments | {"rule": LinearRule(causal=True)} | changes)


def test_unknown_features_and_states_that_do_not_fit_raise():
    with pytest.raises(ValueError, match="features must be one of identity, relu, elu, elu_plus_one, not 'cosine'"):
        LinearRule("cosine")
    q, k, v = inputs(4, 4).values()
    with pytest.raises(ValueError, match="a state goes on in causal order"):
        advance(q, k, v, LinearRule())
    with pytest.raises(ValueError, match="3 keys"):
        advance(q, k[:, :, 1:], v[:, :, 1:], LinearRule(causal=True))
    with pytest.raises(ValueError, match=r"state must have the shape \(1, 2, 8, 5\), not \(1, 2, 8, 6\)"):
        advance(q, k, v, LinearRule(causal=True), torch.zeros(1, 2, 8, 6))
