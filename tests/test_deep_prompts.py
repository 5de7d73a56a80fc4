"""Deep prompts: the released form beside ours, every layout, what is trained and what is refused."""

import math
from typing import Any

import pytest
import torch
import torch.nn as nn
from torch import Tensor

from unimodal.block import Block
from unimodal.deep_prompts import prompt
from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.part import Part
from unimodal.positions.rotary import Rotary
from unimodal.positions.sincos import SinCos
from unimodal.recipes.fit import fit
from unimodal.recipes.pre_norm import pre_norm
from unimodal.recipes.uni_perceiver import uni_perceiver
from unimodal.repositioned import Repositioned
from unimodal.sample import Batch
from unimodal.side import Side
from unimodal.tokens import Tokens
from unimodal.transformer import Transformer

DIM, HEADS, COUNT = 12, 2, 3


def core(depth: int = 3) -> Any:
    return pre_norm(depth=depth, heads=HEADS, hidden=24)(DIM).double()


def prompted(net: nn.Module, count: int = COUNT) -> Any:
    new: Any = prompt(net, tokens=count, dim=DIM).model
    for block in new.modules():
        if hasattr(block, "prompts"):
            nn.init.normal_(block.prompts.tokens)
    return new


def tokens(*shape: int, **side: Any) -> Tokens:
    return Tokens(torch.randn(*shape, DIM, dtype=torch.float64), Side(**side))


def with_prompts_as_keys(net: Any, x_ND: Tensor) -> Tensor:
    """The released form in loops: prompts go through the layer's norm and are keys and values, never queries."""
    for wrapped in net.blocks:
        block, prompts = wrapped.block, wrapped.prompts.tokens
        n_ND = block.norm_mixer(x_ND)
        m_MD = torch.cat([block.norm_mixer(prompts), n_ND])
        weight, bias = block.mixer.to_qkv.weight.chunk(3), block.mixer.to_qkv.bias.chunk(3)
        q, k, v = ((y @ w.T + b) for y, w, b in zip((n_ND, m_MD, m_MD), weight, bias, strict=True))
        heads = []
        for h in range(HEADS):
            part = slice(h * DIM // HEADS, (h + 1) * DIM // HEADS)
            rows = []
            for query in q[:, part]:
                score = [math.exp(float(query @ key) / math.sqrt(DIM // HEADS)) for key in k[:, part]]
                rows.append(sum(s / sum(score) * value for s, value in zip(score, v[:, part], strict=True)))
            heads.append(torch.stack(rows))
        x_ND = x_ND + block.mixer.to_out(torch.cat(heads, -1))
        x_ND = x_ND + block.ffn(block.norm_ffn(x_ND))
    return net.norm(x_ND)


def test_it_is_the_released_form_of_prompts_as_keys_and_values():
    net, given = prompted(core()), tokens(1, 4)
    with torch.no_grad():
        torch.testing.assert_close(net(given).x[0], with_prompts_as_keys(net, given.x[0]), rtol=0, atol=1e-12)


def test_each_layers_prompts_take_the_place_of_the_last_ones():
    """The sequence itself in loops: put p_1 in front, run layer 1, put p_2 in their places, run layer 2, drop them."""
    net, given = prompted(core()), tokens(2, 5)
    x = torch.cat([net.blocks[0].prompts.tokens.expand(2, -1, -1), given.x], 1)
    for wrapped in net.blocks:
        x = torch.cat([wrapped.prompts.tokens.expand(2, -1, -1), x[:, COUNT:]], 1)
        x = wrapped.block(x, Side())
    torch.testing.assert_close(net(given).x, net.norm(x[:, COUNT:]), rtol=0, atol=1e-12)


def test_padded_and_packed_sequences_get_what_each_gets_alone():
    net, lengths = prompted(core()), torch.tensor([6, 2, 4])
    padded = tokens(3, 6, lengths=lengths)
    packed = padded.packed()
    for row, one, other in zip(padded.split(), net(padded).split(), net(packed).split(), strict=True):
        alone = net(Tokens(row[None])).x[0]
        torch.testing.assert_close(one, alone, rtol=0, atol=1e-12)
        torch.testing.assert_close(other, alone, rtol=0, atol=1e-12)
    assert net(packed).x.shape == packed.x.shape
    assert net(packed).side is packed.side


def test_every_token_sees_the_prompts_under_a_mask_in_causal_order_and_with_a_bias():
    net, given = prompted(core(1)), tokens(2, 4)
    diagonal = torch.eye(4, dtype=torch.bool)[None, None]
    alone = net(Tokens(given.x.reshape(8, 1, DIM))).x.view(2, 4, DIM)
    for mask in (diagonal, diagonal.expand(2, HEADS, -1, -1)):
        out = net(Tokens(given.x, Side(mask=mask))).x
        torch.testing.assert_close(out, alone, rtol=0, atol=1e-12)  # each token sees itself and the prompts
    causal = net(Tokens(given.x, Side(causal=True))).x
    masked = net(Tokens(given.x, Side(mask=torch.ones(4, 4, dtype=torch.bool).tril()))).x
    torch.testing.assert_close(causal, masked, rtol=0, atol=1e-12)
    torch.testing.assert_close(causal[:, 0], alone[:, 0], rtol=0, atol=1e-12)
    bias = torch.where(diagonal, 0.0, float("-inf")).double()
    torch.testing.assert_close(net(Tokens(given.x, Side(bias=bias))).x, alone, rtol=0, atol=1e-12)
    keys = torch.tensor([True, True, False, False])[None, None, None]
    first = net(Tokens(given.x[:, :2])).x
    torch.testing.assert_close(net(Tokens(given.x, Side(mask=keys))).x[:, :2], first, rtol=0, atol=1e-12)
    nothing = net(Tokens(given.x, Side(mask=torch.zeros(1, 1, 1, 1, dtype=torch.bool)))).x
    assert not torch.allclose(nothing, net.norm(given.x + net.blocks[0].block.mixer.to_out.bias), atol=1e-3)


def test_positions_on_heads_stay_what_they_were():
    """Prompts count as prefix tokens: a rotary core whose tokens cannot see the prompts is the core without them."""
    mixer = Part(Full, heads=3, position=Part(Rotary))
    plain = Part(Transformer, depth=2, blocks=Part(Block, mixer=mixer, ffn=Part(Plain)))(DIM).double()
    net, given = prompted(plain), tokens(1, 7, grid=(2, 3), prefix=1)
    hidden = torch.cat([torch.full((COUNT,), float("-inf")), torch.zeros(7)]).double()[None, None, None]
    for wrapped in net.blocks:
        wrapped.block.register_forward_pre_hook(lambda _, given: (given[0], given[1].replace(bias=hidden)))
    torch.testing.assert_close(net(given).x, plain(given).x, rtol=0, atol=1e-12)


def test_features_and_a_repositioned_core_have_prompts_too():
    inner = Part(Transformer, depth=2, blocks=Part(Block, mixer=Part(Full, heads=HEADS), ffn=Part(Plain)))
    net = Repositioned(DIM, core=inner, position=Part(SinCos)).double()
    new, given = prompted(net), tokens(1, 6, grid=(2, 3))
    out = new(given).x
    assert out.shape == given.x.shape
    assert not torch.allclose(out, net(given).x, atol=1e-3)
    deep, other = prompted(core()), tokens(1, 4)
    assert torch.equal(deep.features(other, (1, 3))[1].x, deep(other).x)


def test_layers_that_share_weights_share_their_prompts():
    shared = Part(Transformer, depth=4, shared=2, blocks=Part(Block, mixer=Part(Full, heads=HEADS), ffn=Part(Plain)))
    found = prompt(shared(DIM), tokens=COUNT, dim=DIM, where="$^")
    assert found.names == ("blocks.0.prompts.tokens", "blocks.1.prompts.tokens")
    assert found.trained == 2 * COUNT * DIM


def test_only_prompts_norms_and_the_prefix_are_trained_and_the_rest_stays_bit_for_bit():
    torch.manual_seed(0)
    net: Any = uni_perceiver("tiny", image=32)()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    found = prompt(net)
    new: Any = found.model
    start = {name: value.clone() for name, value in new.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in new.parameters() if p.requires_grad], lr=0.5)
    for _ in range(2):
        loss = (new.embed(Batch("image", torch.randn(2, 3, 32, 32))) @ torch.randn(192)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    moved = {name for name, value in new.state_dict().items() if not torch.equal(value, start[name])}
    assert moved == set(found.names)
    listed = {name.replace(".block.", ".") for name in moved}
    layers = [f"transformer.blocks.{i}." for i in range(12)]
    wanted = {f"{at}prompts.tokens" for at in layers} | {"prefix.tokens", "norm.weight", "norm.bias"}
    wanted |= {f"{at}norm_{n}.{p}" for at in layers for n in ("mixer", "ffn") for p in ("weight", "bias")}
    assert listed == wanted
    assert all(torch.equal(net.state_dict()[name], value) for name, value in before.items())
    assert all(p.requires_grad for p in net.parameters())
    assert found.total == sum(p.numel() for p in net.parameters())


def test_what_was_trained_is_loaded_into_another_copy():
    net = core()
    one, other = prompt(net, dim=DIM), prompt(net, dim=DIM)
    nn.init.normal_(next(p for p in one.model.parameters() if p.requires_grad))
    kept = {name: value for name, value in one.model.state_dict().items() if name in one.names}
    assert not other.model.load_state_dict(kept, strict=False).unexpected_keys
    given = tokens(1, 4)
    assert torch.equal(one.model(given).x, other.model(given).x)


def test_the_copy_trains_and_evaluates_as_the_model_did():
    assert not any(m.training for m in prompt(core().eval(), dim=DIM).model.modules() if hasattr(m, "prompts"))


def test_wrong_requests_raise():
    with pytest.raises(ValueError, match="tokens must be positive and dim given"):
        prompt(core(), dim=DIM, tokens=0)
    with pytest.raises(ValueError, match="dim given for Transformer"):
        prompt(core())
    with pytest.raises(ValueError, match="Linear is no Transformer"):
        prompt(nn.Linear(3, 3), dim=3)
    latents = fit(spec="(1)1", groups=2, slots=3, latents=2, heads=2)(DIM)
    with pytest.raises(ValueError, match="InterleavedLatents is no Transformer"):
        prompt(latents, dim=DIM)
    with pytest.raises(ValueError, match="have prompts already"):
        prompt(prompt(core(), dim=DIM).model, dim=DIM)
    with pytest.raises(ValueError, match="'memory' is set"):
        prompted(core())(tokens(1, 4, memory=tokens(1, 3)))
