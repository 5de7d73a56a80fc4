"""Transformer: patterns over depth, shared weights, features, the ramp of stochastic depth."""

import copy
from typing import Any

import pytest
import torch
import torch.nn as nn

from unimodal.block import Block
from unimodal.chain import Chain
from unimodal.ffns.gated import Gated
from unimodal.ffns.linear import Linear
from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.side import Side
from unimodal.tokens import Tokens
from unimodal.transformer import Transformer

A = Part(Block, mixer=Part(Full, heads=2), ffn=Part(Plain, hidden=10))
B = Part(Block, mixer=Part(Full, heads=4), ffn=Part(Gated, hidden=6), layout="post")


def batch() -> Tokens:
    return Tokens(torch.randn(2, 6, 8), Side(grid=(2, 3), lengths=torch.tensor([6, 4])))


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_it_applies_its_blocks_one_after_another_and_the_norm_last():
    core, tokens = Transformer(8, depth=3, blocks=(A, B), norm=Part(LayerNorm)), batch()
    x = tokens.x
    for block in core.blocks:
        x = block(x, tokens.side)
    assert core.norm is not None
    out = core(tokens)
    assert torch.equal(out.x, core.norm(x))
    assert out.side is tokens.side


def test_parts_are_cycled_over_depth():
    core = Transformer(8, depth=5, blocks=(A, A, B))
    assert [type(block.ffn) for block in core.blocks] == [Plain, Plain, Gated, Plain, Plain]
    assert [block.layout for block in core.blocks] == ["pre", "pre", "post", "pre", "pre"]


def test_layers_that_share_weights_are_one_object_applied_again():
    core, tokens = Transformer(8, depth=6, blocks=A, shared=3), batch()
    assert len(core.blocks) == 2
    assert count(core) == 2 * count(A(8))
    x = tokens.x
    for i in (0, 0, 0, 1, 1, 1):
        x = core.blocks[i](x, tokens.side)
    assert torch.equal(core(tokens).x, x)
    assert count(Transformer(8, depth=6, blocks=A, shared=6)) == count(A(8))
    assert count(Transformer(8, depth=6, blocks=A)) == 6 * count(A(8))


def test_shared_weights_gather_the_gradient_of_every_application():
    tied, tokens = Transformer(8, depth=2, blocks=A, shared=2).double(), batch()
    free = Transformer(8, depth=2, blocks=A).double()
    for block in free.blocks:
        block.load_state_dict(tied.blocks[0].state_dict())
    for core in (tied, free):
        core(tokens.replace(tokens.x.double())).x.square().sum().backward()
    for name, parameter in tied.blocks[0].named_parameters():
        total = sum(dict(block.named_parameters())[name].grad for block in free.blocks)  # pyright: ignore[reportArgumentType, reportCallIssue]
        torch.testing.assert_close(parameter.grad, total, rtol=1e-9, atol=1e-11)


def test_features_are_the_tokens_after_each_depth_and_the_last_passes_the_norm():
    core, tokens = Transformer(8, depth=4, blocks=(A, A, B, B), shared=2, norm=Part(LayerNorm)), batch()
    kept = core.features(tokens, [0, 1, 3, 3, 4])
    assert torch.equal(kept[0].x, tokens.x)
    assert torch.equal(kept[1].x, core.blocks[0](tokens.x, tokens.side))
    assert torch.equal(kept[2].x, core.blocks[1](core.blocks[0](kept[1].x, tokens.side), tokens.side))
    assert kept[2] is kept[3]
    assert torch.equal(kept[4].x, core(tokens).x)
    assert all(one.side is tokens.side for one in kept)
    assert core.features(tokens, []) == []


def test_stochastic_depth_grows_linearly_from_zero_to_its_rate():
    core = Transformer(8, depth=5, blocks=A, drop_path=0.2)
    assert [block.drop_path for block in core.blocks] == pytest.approx([0.0, 0.05, 0.1, 0.15, 0.2])
    tied = Transformer(8, depth=6, blocks=A, shared=2, drop_path=0.2)
    assert [block.drop_path for block in tied.blocks] == pytest.approx([0.0, 0.1, 0.2])
    own = Transformer(8, depth=2, blocks=A.replace(drop_path=0.3))
    assert [block.drop_path for block in own.blocks] == [0.3, 0.3]


@pytest.mark.parity
def test_it_equals_the_encoder_of_torch_on_the_same_weights():
    block = Part(Block, mixer=Part(Full, heads=2), ffn=Part(Plain, hidden=10), norm=Part(LayerNorm, eps=1e-5))
    core = Transformer(8, depth=3, blocks=block, norm=Part(LayerNorm, eps=1e-5)).double().eval()
    layer = nn.TransformerEncoderLayer(8, 2, 10, 0.0, "gelu", batch_first=True, norm_first=True)
    peer = nn.TransformerEncoder(layer, 3, norm=nn.LayerNorm(8), enable_nested_tensor=False).double()
    renamed = {
        "norm_mixer": "norm1",
        "norm_ffn": "norm2",
        "mixer.to_qkv.": "self_attn.in_proj_",
        "mixer.to_out": "self_attn.out_proj",
        "ffn.to_hidden": "linear1",
        "ffn.to_out": "linear2",
        "blocks": "layers",
    }
    state = {}
    for name, value in core.state_dict().items():
        for ours, theirs in renamed.items():
            name = name.replace(ours, theirs)
        state[name] = value
    peer.load_state_dict(state)
    x, padding = torch.randn(2, 9, 8).double(), torch.arange(9) >= torch.tensor([9, 4])[:, None]
    ours = core(Tokens(x, Side(lengths=torch.tensor([9, 4])))).x
    torch.testing.assert_close(ours, peer(x, src_key_padding_mask=padding), rtol=0, atol=1e-12)


def test_packed_padded_and_single_sequences_give_the_same():
    core = Transformer(8, depth=3, blocks=(A, B), norm=Part(LayerNorm)).double()
    tokens = Tokens(torch.randn(3, 9, 8).double(), Side(lengths=torch.tensor([9, 1, 5]), causal=True))
    forms = [core(tokens).split(), core(tokens.packed()).split()]
    for row, *others in zip(tokens.split(), *forms, strict=True):
        alone = core(Tokens(row[None], Side(causal=True))).x[0]
        for other in others:
            torch.testing.assert_close(other, alone, rtol=0, atol=1e-12)


def test_in_causal_order_no_token_sees_a_later_one_through_any_depth():
    core, x = Transformer(8, depth=3, blocks=(A, B)), torch.randn(2, 9, 8)
    changed = x.clone()
    changed[:, 5] += 10.0
    before, after = (core(Tokens(t, Side(causal=True))).x for t in (x, changed))
    assert torch.equal(before[:, :5], after[:, :5])
    assert (before[:, 5:] != after[:, 5:]).any(-1).all()


def test_it_exports_for_uniform_batches_and_copies():
    core = Transformer(8, depth=2, blocks=(A, B), norm=Part(LayerNorm)).eval()
    tokens = Tokens(torch.randn(2, 6, 8), Side(grid=(2, 3)))
    out = torch.export.export(core, (tokens,)).module()(tokens)
    torch.testing.assert_close(out.x, core(tokens).x)
    assert torch.equal(copy.deepcopy(core)(tokens).x, core(tokens).x)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"depth": 0}, "depth must be positive and blocks not empty, not depth=0"),
        ({"blocks": ()}, "depth must be positive and blocks not empty"),
        ({"shared": 3}, "shared=3 does not divide depth=4"),
        ({"shared": 0}, "shared=0 does not divide depth=4"),
        ({"shared": 2, "blocks": (A, B)}, "layers that share weights have different blocks"),
    ],
)
def test_settings_that_make_no_transformer_raise(settings, message):
    with pytest.raises(ValueError, match=message):
        Transformer(8, **{"depth": 4, "blocks": A, **settings})


@pytest.mark.parametrize("depths", [[5], [-1], [2, 1]])
def test_depths_that_do_not_exist_or_descend_raise(depths):
    with pytest.raises(ValueError, match=r"depths must ascend within 0..4, not"):
        Transformer(8, depth=4, blocks=A).features(batch(), depths)


def test_a_block_that_changes_the_width_says_so_to_the_next_one_and_to_the_norm():
    wider = Part(Chain, parts=(Part(Linear, width=12),))
    core: Any = Transformer(8, depth=3, blocks=(A, wider, A), norm=Part(LayerNorm))
    assert core.width == len(core.norm.weight) == core.blocks[2].norm_mixer.weight.numel() == 12
    assert [tokens.x.shape[-1] for tokens in core.features(batch(), [0, 1, 2, 3])] == [8, 8, 12, 12]
    assert Transformer(8, depth=1, blocks=A).width == 8
