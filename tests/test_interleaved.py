"""Interleaved latents: the equations in loops over groups, dense masks, limits, order, reach, cost and layouts."""

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from unimodal.attention.softmax import SoftmaxAttention
from unimodal.block import Block
from unimodal.cross_block import CrossBlock
from unimodal.ffns.plain import Plain
from unimodal.interleaved import InterleavedLatents
from unimodal.mixers.full import Full
from unimodal.part import Part
from unimodal.side import Side
from unimodal.tokens import Tokens
from unimodal.transformer import Transformer

DIM, WIDTH, SLOTS, GROUPS, LATENTS, HEADS = 6, 8, 4, 3, 2, 2
BLOCK = Part(Block, mixer=Part(Full, heads=HEADS), ffn=Part(Plain))


def core(spec: str, dtype: torch.dtype = torch.float64, **changes: Any) -> Any:
    torch.manual_seed(0)
    settings = {"groups": GROUPS, "slots": SLOTS, "latents": LATENTS, "width": WIDTH, "local": BLOCK, "across": BLOCK}
    module: Any = InterleavedLatents(
        DIM, **{"spec": spec, **settings, "cross": Part(CrossBlock, heads=HEADS), **changes}
    )
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module.to(dtype).eval()


def normal(norm, x):
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + norm.eps).sqrt() * (
        norm.weight
    ) + norm.bias


def linear(layer, x):
    return x @ layer.weight.T + layer.bias


def attend(q, k, v, seen):
    out = []
    for q_h, k_h, v_h in zip(*(t.chunk(HEADS, -1) for t in (q, k, v)), strict=True):
        gate = (q_h @ k_h.T / q_h.shape[-1] ** 0.5).exp() * seen
        out.append(gate / gate.sum(-1, keepdim=True) @ v_h)
    return torch.cat(out, -1)


def encode(block, x, seen):
    q, k, v = linear(block.mixer.to_qkv, normal(block.norm_mixer, x)).chunk(3, -1)
    x = x + linear(block.mixer.to_out, attend(q, k, v, seen))
    h = F.gelu(linear(block.ffn.to_hidden, normal(block.norm_ffn, x)))
    return x + linear(block.ffn.to_out, h)


def cross(block, x, m):
    k, v = linear(block.to_kv, normal(block.norm_memory, m)).chunk(2, -1)
    q = linear(block.to_q, normal(block.norm_tokens, x))
    return x + linear(block.to_out, attend(q, k, v, torch.ones(len(x), len(m))))


def one_by_one(module, x, causal=False, memory=None):
    """The tokens (N, D) of one sequence and its latents, group by group."""
    xs = [x[n : n + SLOTS] + module.slots[: len(x[n : n + SLOTS])] for n in range(0, len(x), SLOTS)]
    zs = [module.latents[g] for g in range(len(xs))]
    for i, stage in enumerate(module.stages):
        for block in stage.local:
            seen = [torch.ones(len(x), len(x)) for x in xs]
            xs = [encode(block, x, s.tril() if causal else s) for x, s in zip(xs, seen, strict=True)]
        if module.layers[i][1]:
            zs = [cross(stage.read, z, x) for z, x in zip(zs, xs, strict=True)]
            if memory is not None:
                zs = [cross(stage.told, z, memory) for z in zs]
            for block in stage.across:
                seen = torch.zeros(len(xs) * LATENTS, len(xs) * LATENTS)
                for g in range(len(xs)):
                    for other in range(g + 1 if causal else len(xs)):
                        seen[g * LATENTS : (g + 1) * LATENTS, other * LATENTS : (other + 1) * LATENTS] = 1.0
                zs = list(encode(block, torch.cat(zs), seen).split(LATENTS))
        if i < len(module.stages) - 1:
            told = [torch.zeros_like(zs[0]), *zs[:-1]] if causal else zs
            xs = [cross(stage.write, x, z) for x, z in zip(xs, told, strict=True)]
    return normal(module.norm_tokens, torch.cat(xs)), normal(module.norm_latents, torch.cat(zs))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("tokens", [1, 3, 9, 12])
@pytest.mark.parametrize("spec", ["(1)2(2)1(1)", "(0)1(2)", "(1)1(0)2"])
def test_tokens_latents_and_every_gradient_equal_the_equations_group_by_group(spec, tokens, causal):
    module, x = core(spec), torch.randn(2, tokens, DIM, dtype=torch.float64, requires_grad=True)
    ours = module.streams(Tokens(x, Side(causal=causal)))
    loops = [torch.stack(rows) for rows in zip(*(one_by_one(module, row, causal) for row in x), strict=True)]
    for one, other in zip(ours, loops, strict=True):
        torch.testing.assert_close(one.x, other, rtol=0, atol=1e-10)
    inputs, into = [x, *module.parameters()], [torch.randn_like(y) for y in loops]
    grads = [
        torch.autograd.grad(y, inputs, into, allow_unused=True) for y in ([stream.x for stream in ours], list(loops))
    ]
    for one, other in zip(*grads, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_a_memory_is_read_by_the_latents_of_every_stage():
    module = core("(1)1(1)2", condition=Part(CrossBlock, heads=HEADS))
    x, held = torch.randn(2, 9, DIM).double(), torch.randn(2, 3, WIDTH).double()
    ours = module.streams(Tokens(x, Side(memory=Tokens(held))))
    for b in range(2):
        for stream, row in zip(ours, one_by_one(module, x[b], memory=held[b]), strict=True):
            torch.testing.assert_close(stream.x[b], row, rtol=0, atol=1e-10)


def test_groups_are_dense_masks_over_the_whole_sequence():
    module, tokens = core("(2)2(1)"), GROUPS * SLOTS
    x = torch.randn(2, tokens, DIM, dtype=torch.float64)
    group, latent = torch.arange(tokens) // SLOTS, torch.arange(GROUPS * LATENTS) // LATENTS
    within, read = group[:, None] == group, latent[:, None] == group
    flat, z = x + module.slots.repeat(GROUPS, 1), module.latents.flatten(0, 1).expand(2, -1, -1)
    first, second = module.stages
    for block in first.local:
        flat = block(flat, Side(mask=within))
    z = first.read(z, Side(mask=read, memory=Tokens(flat)))
    for block in first.across:
        z = block(z)
    flat = first.write(flat, Side(mask=read.T, memory=Tokens(z)))
    flat = second.local[0](flat, Side(mask=within))
    torch.testing.assert_close(module(Tokens(x)).x, module.norm_tokens(flat), rtol=0, atol=1e-12)


def test_one_group_without_global_layers_is_the_plain_transformer():
    module = core("(3)", groups=1, slots=12)
    plain = Transformer(DIM, depth=3, blocks=BLOCK).double().eval()
    plain.blocks, plain.norm = module.stages[0].local, module.norm_tokens
    x = torch.randn(2, 12, DIM, dtype=torch.float64)
    for causal in (False, True):
        expected = plain(Tokens(x + module.slots, Side(causal=causal))).x
        torch.testing.assert_close(module(Tokens(x, Side(causal=causal))).x, expected, rtol=0, atol=1e-12)


def test_one_group_without_local_layers_is_latents_that_read_all_tokens_once():
    module, x = core("(0)2", groups=1, slots=12), torch.randn(2, 12, DIM, dtype=torch.float64)
    stage = module.stages[0]
    z = stage.read(module.latents.expand(2, -1, -1), Side(memory=Tokens(x + module.slots)))
    z = module.norm_latents(stage.across[1](stage.across[0](z)))
    torch.testing.assert_close(module(Tokens(x)).x, z, rtol=0, atol=1e-12)


@pytest.mark.parametrize("latents", [1, 2])
@pytest.mark.parametrize("spec", ["(1)1(1)", "(2)2(0)1(1)"])
def test_no_token_hears_of_later_ones_and_the_last_group_of_the_first_token(spec, latents):
    module, tokens = core(spec, latents=latents), GROUPS * SLOTS - 1
    x, side = torch.randn(1, tokens, DIM, dtype=torch.float64), Side(causal=True)
    before = module(Tokens(x, side)).x
    for n in range(tokens):
        changed = x.clone()
        changed[0, n, 0] += 1.0
        after = module(Tokens(changed, side)).x
        assert torch.equal(after[:, :n], before[:, :n])
        # Its own group hears of it from its place on, and all later groups through the latents.
        far = -(-(n + 1) // SLOTS) * SLOTS
        assert (after[:, n : min(far, tokens)] != before[:, n : min(far, tokens)]).any(-1).all()
        assert (after[:, far:] != before[:, far:]).any(-1).all()


def test_the_gradient_of_a_token_in_causal_order_is_exactly_zero_for_later_ones():
    module, tokens = core("(1)2(1)1(1)"), GROUPS * SLOTS
    x = torch.randn(1, tokens, DIM, dtype=torch.float64, requires_grad=True)
    y = module(Tokens(x, Side(causal=True))).x
    for n in range(tokens):
        (grad,) = torch.autograd.grad(y[0, n].square().sum(), x, retain_graph=True)
        assert not grad[0, n + 1 :].any()
        assert grad[0, n].any()
        assert n // SLOTS == 0 or grad[0, 0].any()


def test_without_order_every_token_hears_of_every_other():
    module, x = core("(1)1(1)"), torch.randn(1, 12, DIM, dtype=torch.float64)
    changed = x.clone()
    changed[0, 11, 0] += 1.0
    assert (module(Tokens(x)).x != module(Tokens(changed)).x).any(-1).all()


def test_groups_that_change_places_with_their_latents_only_change_places():
    module, order = core("(1)2(1)"), torch.tensor([2, 0, 1])
    x = torch.randn(2, GROUPS * SLOTS, DIM, dtype=torch.float64)
    moved = copy.deepcopy(module)
    moved.latents.data = module.latents.data[order]
    shuffled = x.unflatten(1, (GROUPS, SLOTS))[:, order].flatten(1, 2)
    expected = module(Tokens(x)).x.unflatten(1, (GROUPS, SLOTS))[:, order].flatten(1, 2)
    torch.testing.assert_close(moved(Tokens(shuffled)).x, expected, rtol=0, atol=1e-12)
    assert (module(Tokens(shuffled)).x - expected).abs().max() > 1e-3  # latents know where their group is


@pytest.mark.parametrize("causal", [False, True])
def test_padded_packed_and_single_sequences_give_the_same_and_padding_has_no_influence(causal):
    module, lengths = core("(1)1(1)"), torch.tensor([11, 4, 1, 6])
    rows = Tokens(torch.randn(4, 11, DIM, dtype=torch.float64), Side(causal=causal, lengths=lengths))
    padded, packed = module.streams(rows), module.streams(rows.packed())
    noisy = rows.x.clone()
    noisy[torch.arange(11) >= lengths[:, None]] = 1e3
    again = module.streams(rows.replace(noisy))
    for b, row in enumerate(rows.split()):
        alone = module.streams(Tokens(row[None], Side(causal=causal)))
        for one, two, three, noise in zip(alone, padded, packed, again, strict=True):
            torch.testing.assert_close(two.split()[b], one.x[0], rtol=0, atol=1e-12)
            torch.testing.assert_close(three.split()[b], one.x[0], rtol=0, atol=1e-12)
            assert torch.equal(noise.split()[b], two.split()[b])
    assert padded[1].side.lengths is not None
    assert padded[1].side.lengths.tolist() == [6, 2, 2, 4]


def test_windows_are_runs_of_tokens_in_another_order():
    module, runs = core("(1)1(1)", slots=(2, 3), groups=4), core("(1)1(1)", slots=6, groups=4)
    runs.load_state_dict(module.state_dict())
    x = torch.randn(2, 4, 6, DIM, dtype=torch.float64)
    windows = torch.cat([x[:, a : a + 2, b : b + 3].flatten(1, 2) for a in (0, 2) for b in (0, 3)], 1)
    y = runs(Tokens(windows)).x.unflatten(1, (4, 2, 3))
    expected = torch.cat([torch.cat([y[:, g], y[:, g + 1]], 2) for g in (0, 2)], 1).flatten(1, 2)
    tokens = Tokens(x.flatten(1, 2), Side(grid=(4, 6)))
    torch.testing.assert_close(module(tokens).x, expected, rtol=0, atol=1e-12)


def test_latents_are_the_result_of_a_spec_that_ends_with_them():
    module, x = core("(1)1(1)1"), Tokens(torch.randn(2, 9, DIM, dtype=torch.float64))
    assert torch.equal(module(x).x, module.streams(x)[1].x)
    assert module(x).x.shape == (2, 3 * LATENTS, WIDTH)


def test_features_are_the_tokens_after_each_stage_and_at_last_the_result():
    module, x = core("(1)1(1)1(1)"), torch.randn(2, 9, DIM, dtype=torch.float64)
    for tokens in (Tokens(x), Tokens(x[:1], Side(cu_seqlens=torch.tensor([0, 4, 9], dtype=torch.int32)))):
        first, middle, last = module.features(tokens, [0, 2, 3])
        assert torch.equal(last.x, module(tokens).x)
        assert first.x.shape == middle.x.shape == tokens.x.shape
    assert torch.equal(module.features(Tokens(x), [0])[0].x[:, :4], x[:, :4] + module.slots)


def test_latents_start_from_what_is_added_to_their_table():
    module, x = core("(1)1"), Tokens(torch.randn(2, 9, DIM, dtype=torch.float64))
    start, moved = torch.randn(3 * LATENTS, WIDTH).double(), copy.deepcopy(module)
    moved.latents.data += start.view(3, LATENTS, WIDTH)
    assert torch.equal(module.streams(x, start)[1].x, moved(x).x)


def test_parameters_are_those_of_the_formula():
    def encoder(d):
        return 4 * d * d + 4 * d + 8 * d * d + 5 * d + 4 * d

    def crossing(d, e):
        w = min(d, e)
        return d * w + w + 2 * (e * w + w) + w * d + d + 2 * d + 2 * e

    module = core("(2)3(1)1(2)")
    expected = 5 * encoder(DIM) + 4 * encoder(WIDTH) + 2 * (crossing(DIM, WIDTH) + crossing(WIDTH, DIM))
    expected += SLOTS * DIM + GROUPS * LATENTS * WIDTH + 2 * DIM + 2 * WIDTH
    assert sum(p.numel() for p in module.parameters()) == expected


def test_attention_to_tokens_and_latents_costs_what_the_formula_says_and_grows_like_length_to_four_thirds():
    mixer = Part(Full, heads=HEADS, attention=Part(SoftmaxAttention, implementation="reference"))
    block = Part(Block, mixer=mixer, ffn=Part(Plain))

    def cost(tokens, slots):
        module = core("(1)1(1)", torch.float32, slots=slots, groups=tokens // slots, local=block, across=block)
        with FlopCounterMode(display=False) as counter:
            module(Tokens(torch.randn(1, tokens, DIM)))
        within, over = 2 * tokens * slots * 2 * DIM, (tokens // slots * LATENTS) ** 2 * 2 * WIDTH
        assert counter.get_flop_counts()["Global"][torch.ops.aten.bmm] == 2 * (within + over)
        return within + over

    assert cost(4096, 16) == 16 * cost(512, 8)  # 16 = 8^(4/3), and slots grew by 2 = 8^(1/3)


def test_it_runs_in_bfloat16_exports_and_gives_every_parameter_a_gradient():
    module = core("(1)1(1)", torch.bfloat16)
    assert module(Tokens(torch.randn(1, 9, DIM).bfloat16())).x.dtype == torch.bfloat16
    module = core("(1)1(1)", torch.float32)
    tokens = Tokens(torch.randn(2, 9, DIM), Side(causal=True))
    program = torch.export.export(module, (tokens,)).module()
    torch.testing.assert_close(program(tokens).x, module(tokens).x)
    x, z = module.streams(tokens)
    (x.x.square().sum() + z.x.square().sum()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())
