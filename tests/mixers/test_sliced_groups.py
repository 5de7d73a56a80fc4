"""The mixer ``sliced_groups`` against slow loops, full attention as its limit, and what has influence on what."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from unimodal.attention.softmax import SoftmaxAttention
from unimodal.mixers.full import Full
from unimodal.mixers.sliced_groups import SlicedGroups
from unimodal.part import Part
from unimodal.side import Side
from unimodal.testing import check_part
from unimodal.tokens import Tokens

DIM, HEADS = 6, 2


def groups_of(mixer, tokens, prefix):
    """The lattice tokens that belong together, found out by whose change is seen by whom."""
    x = torch.randn(1, prefix + tokens, DIM, dtype=torch.float64)
    before, seen = mixer(x, Side(prefix=prefix)), []
    for n in range(prefix, prefix + tokens):
        changed = x.clone()
        changed[0, n] += 1.0
        differs = (mixer(changed, Side(prefix=prefix)) != before).any(-1)[0, prefix:]
        seen.append(tuple(differs.nonzero()[:, 0].tolist()))
    return sorted(set(seen))


def attention(mixer, x_query, x_keys):
    """One token's multi-head attention to others, in loops over heads and keys."""
    wide, weight, bias, out = DIM // HEADS, mixer.full.to_qkv.weight, mixer.full.to_qkv.bias, []
    for h in range(HEADS):
        part = [slice(i * DIM + h * wide, i * DIM + (h + 1) * wide) for i in range(3)]
        q = weight[part[0]] @ x_query + bias[part[0]]
        keys = [weight[part[1]] @ x + bias[part[1]] for x in x_keys]
        values = [weight[part[2]] @ x + bias[part[2]] for x in x_keys]
        share = torch.stack([(q @ k / wide**0.5).exp() for k in keys])
        out.append(sum(s / share.sum() * v for s, v in zip(share, values, strict=True)))
    return mixer.full.to_out.weight @ torch.cat(out) + mixer.full.to_out.bias


@pytest.mark.parametrize("prefix", [0, 2])
@pytest.mark.parametrize("permuted", [False, True])
@pytest.mark.parametrize("groups, tokens", [(1, 5), (2, 6), (3, 7), (4, 3)])
def test_it_and_every_gradient_equal_the_equation(groups, tokens, permuted, prefix):
    torch.manual_seed(0)
    mixer = SlicedGroups(DIM, heads=HEADS, groups=groups, permuted=permuted, seed=3).double().eval()
    together = groups_of(mixer, tokens, prefix)
    assert sorted(n for group in together for n in group) == list(range(tokens))
    assert {len(group) for group in together} <= {tokens // groups, -(-tokens // groups)} - {0}
    x = torch.randn(2, prefix + tokens, DIM, dtype=torch.float64, requires_grad=True)
    rows = []
    for b in range(2):
        front, lattice = x[b, :prefix], x[b, prefix:]
        every = [[*front, *(lattice[n] for n in group)] for group in [*together, *[()] * (groups - len(together))]]
        outputs = [sum(attention(mixer, token, keys) for keys in every) / groups for token in front]
        for n in range(tokens):
            group = next(group for group in together if n in group)
            outputs.append(attention(mixer, lattice[n], [*front, *(lattice[m] for m in group)]))
        rows.append(torch.stack(outputs))
    expected, y = torch.stack(rows), mixer(x, Side(prefix=prefix))
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
    inputs, into = [x, *mixer.parameters()], torch.randn_like(y)
    for ours, oracle in zip(
        torch.autograd.grad(y, inputs, into), torch.autograd.grad(expected, inputs, into), strict=True
    ):
        torch.testing.assert_close(ours, oracle, rtol=0, atol=1e-11)


def test_groups_that_are_not_permuted_are_runs_of_the_sequence_as_even_as_possible():
    mixer = SlicedGroups(DIM, heads=HEADS, groups=4).double()
    assert groups_of(mixer, 10, 1) == [(0, 1), (2, 3, 4), (5, 6), (7, 8, 9)]


@pytest.mark.parametrize("permuted", [False, True])
def test_one_group_is_full_attention_and_the_attention_of_timm(permuted):
    layers = pytest.importorskip("timm.layers")
    mixer = SlicedGroups(DIM, heads=HEADS, groups=1, permuted=permuted)
    theirs = layers.Attention(DIM, num_heads=HEADS, qkv_bias=True)
    theirs.qkv.load_state_dict(mixer.full.to_qkv.state_dict())
    theirs.proj.load_state_dict(mixer.full.to_out.state_dict())
    x = torch.randn(3, 63, DIM)
    torch.testing.assert_close(mixer(x), mixer.full(x), rtol=0, atol=1e-6)
    torch.testing.assert_close(mixer(x), theirs(x), rtol=0, atol=1e-6)


def test_a_permuted_cut_keeps_the_contracts_of_mixers_too():
    check_part("mixers", SlicedGroups, permuted=True, groups=3)


def test_as_many_groups_as_tokens_or_more_leave_each_token_by_itself():
    x = torch.randn(2, 5, DIM)
    for groups in (5, 9):
        mixer = SlicedGroups(DIM, heads=HEADS, groups=groups, permuted=True)
        alone = mixer.full(x.flatten(0, 1)[:, None]).view_as(x)
        torch.testing.assert_close(mixer(x), alone, rtol=0, atol=1e-6)


def test_the_permutation_is_fixed_by_its_seed_in_eval_and_drawn_while_training():
    x, full = torch.randn(1, 64, DIM), Full(DIM, heads=HEADS)

    def output(seed, training=False, draw=0):
        mixer = SlicedGroups(DIM, heads=HEADS, groups=4, permuted=True, seed=seed).train(training)
        mixer.full.load_state_dict(full.state_dict())
        torch.manual_seed(draw)
        return mixer(x)

    assert torch.equal(output(0, draw=0), output(0, draw=1))
    assert not torch.equal(output(0), output(1))
    assert torch.equal(output(0, True, draw=2), output(1, True, draw=2))
    assert not torch.equal(output(0, True, draw=2), output(0, True, draw=3))


@pytest.mark.parametrize("training", [False, True])
def test_all_rows_of_a_batch_are_permuted_alike(training):
    mixer = SlicedGroups(DIM, heads=HEADS, groups=4, permuted=True).train(training)
    y = mixer(torch.randn(1, 32, DIM).expand(3, -1, -1))
    assert torch.equal(y[0], y[1])
    assert torch.equal(y[0], y[2])


@pytest.mark.parametrize("permuted", [False, True])
@pytest.mark.parametrize("kind", ["mask", "bias"])
def test_masks_and_biases_of_pairs_are_those_of_full_attention_within_the_groups(kind, permuted):
    mixer = SlicedGroups(DIM, heads=HEADS, groups=3, permuted=permuted).double().eval()
    same = torch.zeros(8, 8, dtype=torch.bool)
    for group in groups_of(mixer, 8, 0):
        same[torch.tensor(group)[:, None], torch.tensor(group)] = True
    term = torch.randn(2, HEADS, 8, 8, dtype=torch.float64)
    term = term > 0 if kind == "mask" else term
    within = same & term if kind == "mask" else term.masked_fill(~same, float("-inf"))
    x = torch.randn(2, 8, DIM, dtype=torch.float64)
    sides = [Side(mask=t) if kind == "mask" else Side(bias=t) for t in (term, within)]
    ours, full = mixer(x, sides[0]), mixer.full(x, sides[1])
    torch.testing.assert_close(ours, full, rtol=0, atol=1e-12)


def test_causal_order_holds_within_groups_of_permuted_tokens_and_prefix_tokens_are_first():
    mixer = SlicedGroups(DIM, heads=HEADS, groups=3, permuted=True).double().eval()
    x, side = torch.randn(1, 12, DIM, dtype=torch.float64), Side(prefix=2, causal=True)
    together = groups_of(mixer, 10, 2)
    before = mixer(x, side)
    for n in range(12):
        changed = x.clone()
        changed[0, n] += 1.0
        differs = (mixer(changed, side) != before).any(-1)[0].nonzero()[:, 0].tolist()
        group = next((g for g in together if n - 2 in g), ())
        expected = range(n, 12) if n < 2 else [m + 2 for m in group if m + 2 >= n]
        assert differs == list(expected)


def test_an_attention_to_a_group_costs_a_share_of_the_whole():
    def cost(groups):
        # The counter knows matrix products; it counts nothing for the fused operator of the CPU.
        attention = Part(SoftmaxAttention, implementation="reference")
        mixer = SlicedGroups(64, heads=4, groups=groups, permuted=True, attention=attention)
        with FlopCounterMode(display=False) as counter:
            mixer(torch.randn(2, 256, 64))
        return counter.get_total_flops()

    def formula(groups):
        maps = 2 * 2 * 256 * 64 * (3 * 64 + 64)
        return maps + 2 * groups * 2 * 2 * (256 // groups) ** 2 * 64

    assert [cost(groups) for groups in (1, 2, 8, 16)] == [formula(groups) for groups in (1, 2, 8, 16)]


@pytest.mark.parametrize("groups", [0, -1])
def test_a_number_of_groups_that_is_not_positive_is_refused(groups):
    with pytest.raises(ValueError, match="groups must be positive, not"):
        SlicedGroups(DIM, heads=HEADS, groups=groups)


def test_a_memory_is_refused():
    x = torch.randn(1, 4, DIM)
    with pytest.raises(ValueError, match="memory"):
        SlicedGroups(DIM, heads=HEADS)(x, Side(memory=Tokens(x)))


def test_heads_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="not a multiple of heads"):
        SlicedGroups(DIM, heads=4)
