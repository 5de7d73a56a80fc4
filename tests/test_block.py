"""Blocks: each layout against its formula, layer scale and stochastic depth, and torch's own layer."""

from typing import Any

import pytest
import torch
import torch.nn as nn

from unimodal.block import Block
from unimodal.ffns.gated import Gated
from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.norms.layer import LayerNorm
from unimodal.norms.rms import RMSNorm
from unimodal.part import Part
from unimodal.side import Side
from unimodal.tokens import Tokens

LAYOUTS = ("pre", "post", "sandwich", "parallel")
MIXER, FFN = Part(Full, heads=2), Part(Plain, hidden=10)


def scrambled(block: Block) -> Block:
    """Norms and scales away from their initial ones and zeros."""
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.5)
    return block.double().eval()


def formula(block: Any, x: torch.Tensor, side: Side) -> torch.Tensor:
    """The four formulas of the docstring, with the factors s and t of the two branches."""
    f, g = (lambda h: block.mixer(h, side)), block.ffn
    s, t = (1.0 if scale is None else scale for scale in (block.scale_mixer, block.scale_ffn))
    n1, n2, n3, n4 = block.norm_mixer, block.norm_ffn, block.norm_mixed, block.norm_fed
    if block.layout == "pre":
        x = x + s * f(n1(x))
        return x if g is None else x + t * g(n2(x))
    if block.layout == "post":
        x = n1(x + s * f(x))
        return x if g is None else n2(x + t * g(x))
    if block.layout == "sandwich":
        x = x + s * n3(f(n1(x)))
        return x if g is None else x + t * n4(g(n2(x)))
    return x + s * f(n1(x)) + t * g(n1(x))


@pytest.mark.parametrize("layer_scale", [None, 0.1])
@pytest.mark.parametrize("layout, ffn", [*((layout, FFN) for layout in LAYOUTS), *((n, None) for n in LAYOUTS[:3])])
def test_each_layout_equals_its_formula_with_gradients(layout, ffn, layer_scale):
    block = scrambled(Block(8, mixer=MIXER, ffn=ffn, norm=Part(RMSNorm), layout=layout, layer_scale=layer_scale))
    x, side = torch.randn(2, 63, 8, dtype=torch.float64, requires_grad=True), Side(lengths=torch.tensor([63, 20]))
    got, expected = block(x, side), formula(block, x, side)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-11)
    leaves = [x, *block.parameters()]
    for a, b in zip(*(torch.autograd.grad(y.square().mean(), leaves) for y in (got, expected)), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-9)


@pytest.mark.parametrize("layout, norms", [("pre", 2), ("post", 2), ("sandwich", 4), ("parallel", 1)])
def test_each_layout_has_the_norms_of_its_formula_and_no_other(layout, norms):
    block = Block(8, mixer=MIXER, ffn=FFN, layout=layout)
    assert sum(isinstance(module, LayerNorm) for module in block.modules()) == norms


@pytest.mark.parity
@pytest.mark.parametrize("layout", ["pre", "post"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_it_equals_the_encoder_layer_of_torch_on_the_same_weights(layout, activation):
    norm = Part(LayerNorm, eps=1e-5)
    block = Block(
        12, mixer=Part(Full, heads=3), ffn=Part(Plain, hidden=20, activation=activation), norm=norm, layout=layout
    )
    block = scrambled(block)
    peer = nn.TransformerEncoderLayer(12, 3, 20, 0.0, activation, batch_first=True, norm_first=layout == "pre").double()
    assert block.norm_ffn is not None
    assert isinstance(block.ffn, Plain)
    assert isinstance(block.mixer, Full)
    with torch.no_grad():
        peer.self_attn.in_proj_weight.copy_(block.mixer.to_qkv.weight)
        peer.self_attn.in_proj_bias.copy_(block.mixer.to_qkv.bias)
    for theirs, ours in (
        (peer.self_attn.out_proj, block.mixer.to_out),
        (peer.linear1, block.ffn.to_hidden),
        (peer.linear2, block.ffn.to_out),
        (peer.norm1, block.norm_mixer),
        (peer.norm2, block.norm_ffn),
    ):
        theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 9, 12, dtype=torch.float64)
    padding = torch.arange(9) >= torch.tensor([9, 4])[:, None]
    later = torch.ones(9, 9, dtype=torch.bool).triu(1)
    for side, options in (
        (Side(), {}),
        (Side(lengths=torch.tensor([9, 4])), {"src_key_padding_mask": padding}),
        (Side(causal=True), {"src_mask": later}),
    ):
        torch.testing.assert_close(block(x, side), peer(x, **options), rtol=0, atol=1e-10)


def test_a_layer_scale_of_zero_is_the_identity_and_is_trained():
    block = Block(8, mixer=MIXER, ffn=FFN, layer_scale=0.0)
    x = torch.randn(2, 5, 8)
    y = block(x)
    assert torch.equal(y, x)
    y.sum().backward()
    for scale in (block.scale_mixer, block.scale_ffn):
        assert scale is not None
        assert scale.shape == (8,)
        assert scale.grad is not None
        assert scale.grad.any()


def test_stochastic_depth_acts_while_training_only():
    block, x = Block(8, mixer=MIXER, ffn=FFN, drop_path=0.5), torch.randn(64, 3, 8)
    without = Block(8, mixer=MIXER, ffn=FFN)
    without.load_state_dict(block.state_dict())
    assert torch.equal(block.eval()(x), without(x))
    assert not torch.equal(block.train()(x), without(x))


@pytest.mark.parametrize("layout", ["pre", "parallel"])
def test_a_sequence_skips_each_branch_on_its_own_and_the_expectation_is_kept(layout):
    rows, rate = 20_000, 0.25
    x = torch.randn(1, 1, 4).expand(rows, 1, 4)
    block = Block(4, mixer=Part(Full, heads=1), ffn=None if layout == "pre" else FFN, layout=layout, drop_path=rate)
    full = block.eval()(x)[0]
    out = block.train()(x).detach()
    assert len(out[:, 0].round(decimals=4).unique(dim=0)) == (2 if layout == "pre" else 4)
    spread = out.std(0) / rows**0.5
    assert ((out.mean(0) - full).abs() <= 4.5 * spread + 1e-5).all()


def test_a_packed_batch_draws_once_a_sequence_as_the_padded_one():
    block = Block(8, mixer=MIXER, ffn=FFN, drop_path=0.5).train()
    lengths = torch.randint(1, 5, (40,))
    padded = Tokens(torch.randn(40, 4, 8), Side(lengths=lengths))
    outs = []
    for tokens in (padded, padded.packed()):
        torch.manual_seed(3)
        outs.append(tokens.replace(block(tokens.x, tokens.side)).split())
    for one, other in zip(*outs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
    skipped = [torch.equal(a, b) for a, b in zip(outs[1], padded.split(), strict=True)]
    assert 0 < sum(skipped) < 40


class Taking(nn.Module):
    def __init__(self, block: Block) -> None:
        super().__init__()
        self.block = block

    def forward(self, tokens: Tokens) -> torch.Tensor:
        return self.block(tokens.x, tokens.side)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_exports_for_uniform_batches(layout):
    block = Block(8, mixer=MIXER, ffn=Part(Gated), layout=layout, layer_scale=0.1).eval()
    tokens = Tokens(torch.randn(2, 6, 8), Side(grid=(2, 3), causal=True))
    program = torch.export.export(Taking(block), (tokens,)).module()
    torch.testing.assert_close(program(tokens), block(tokens.x, tokens.side))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"layout": "prae"}, "layout must be 'pre', 'post', 'sandwich' or 'parallel', not 'prae'"),
        ({"layout": "parallel", "ffn": None}, "a parallel block needs a feed-forward"),
        ({"drop_path": 1.0}, "drop_path is a probability below 1, not 1.0"),
        ({"drop_path": -0.1}, "drop_path is a probability below 1, not -0.1"),
    ],
)
def test_settings_that_make_no_block_raise(settings, message):
    with pytest.raises(ValueError, match=message):
        Block(8, **{"mixer": MIXER, "ffn": FFN, **settings})
