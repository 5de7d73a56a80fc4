"""TransNormer: which layer has which attention, its equations in plain torch, and its recurrent form."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from unimodal.recipes.transnormer import transnormer
from unimodal.side import Side
from unimodal.tokens import Tokens


def built(variant="t1", **kwargs):
    model = transnormer(variant=variant, depth=4, heads=2, hidden=20, block=4, **kwargs)(16).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def oracle(model, x: Tensor, variant: str) -> Tensor:
    """The equations on the model's own weights, pairs of tokens and blocks by masks, in causal order."""
    w, tokens = model.state_dict(), x.shape[1]
    causal = torch.ones(tokens, tokens).tril().bool()
    index = torch.arange(tokens) // 4
    own = causal & (index[:, None] == index)
    for i in range(4):
        b = f"blocks.{i}."
        h = F.layer_norm(x, (16,), w[b + "norm_mixer.weight"], w[b + "norm_mixer.bias"], 1e-6)
        fused = F.linear(h, w[b + "mixer.to_qkv.weight"], w[b + "mixer.to_qkv.bias"]).chunk(3, -1)
        q, k, v = (t.unflatten(-1, (2, 8)).transpose(1, 2) for t in fused)
        if i < 2:
            score = q @ k.mT / 8**0.5
            t2 = score.masked_fill(~own, float("-inf")).softmax(-1)
            weight = (score * (score > 0)).masked_fill(~own, 0.0) if variant == "t1" else t2
        else:
            q, k = (torch.where(t > 0, t, t.exp() - 1) + (variant == "t2") for t in (q, k))
            weight = (q @ k.mT).masked_fill(~causal, 0.0)
        o = (weight @ v).transpose(1, 2).flatten(2)
        o = o / (o.square().mean(-1, keepdim=True) + 1e-6).sqrt()
        x = x + F.linear(o, w[b + "mixer.to_out.weight"], w[b + "mixer.to_out.bias"])
        h = F.layer_norm(x, (16,), w[b + "norm_ffn.weight"], w[b + "norm_ffn.bias"], 1e-6)
        gate, value = F.linear(h, w[b + "ffn.to_hidden.weight"], w[b + "ffn.to_hidden.bias"]).chunk(2, -1)
        x = x + F.linear(F.silu(gate) * value, w[b + "ffn.to_out.weight"], w[b + "ffn.to_out.bias"])
    return F.layer_norm(x, (16,), w["norm.weight"], w["norm.bias"], 1e-6)


@pytest.mark.parametrize("variant", ["t1", "t2"])
@pytest.mark.parametrize("tokens", [1, 4, 11, 70])
def test_it_equals_the_published_equations(variant, tokens):
    model, x = built(variant), torch.randn(2, tokens, 16, dtype=torch.float64)
    found = model(Tokens(x, Side(causal=True))).x
    torch.testing.assert_close(found, oracle(model, x, variant), rtol=0, atol=1e-9)


def test_the_first_half_is_local_and_of_an_odd_depth_the_second_has_one_more():
    for depth, kinds in ((4, "DDLL"), (5, "DDLLL"), (1, "L")):
        model = transnormer(depth=depth, heads=2)(16)
        names = [type(block.mixer.attention.attention).__name__[0] for block in model.blocks]
        assert "".join(names) == kinds


@pytest.mark.parametrize("variant", ["t1", "t2"])
def test_token_by_token_with_states_the_norm_layers_equal_the_whole(variant):
    """Projections, rule and norm of the last layer's mixer, one token at a time and all at once."""
    mixer, x = built(variant).blocks[3].mixer, torch.randn(2, 70, 16, dtype=torch.float64)
    whole, state, steps = mixer(x, Side(causal=True)), None, []
    for n in range(70):
        fused = mixer.to_qkv(x[:, n : n + 1]).chunk(3, -1)
        q, k, v = (t.unflatten(-1, (2, -1)).transpose(1, 2) for t in fused)
        o, state = mixer.attention.advance(q, k, v, state)
        assert state.shape == (2, 2, 8, 8)
        steps.append(mixer.to_out(o.transpose(1, 2).flatten(2)))
    torch.testing.assert_close(torch.cat(steps, 1), whole, rtol=0, atol=1e-10)


@pytest.mark.parametrize("variant", ["t1", "t2"])
@pytest.mark.parametrize("causal", [False, True])
def test_padded_and_packed_batches_give_what_each_sequence_gives_alone(variant, causal):
    model, sizes = built(variant), [11, 6, 1]
    rows = Tokens(torch.randn(3, 11, 16, dtype=torch.float64), Side(causal=causal, lengths=torch.tensor(sizes)))
    alone = [model(Tokens(x[None], Side(causal=causal))).x[0] for x in rows.split()]
    for layout in (rows, rows.packed()):
        for one, other in zip(model(layout).split(), alone, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_early_layers_reach_their_block_and_late_ones_the_whole_past():
    model, x = built("t1"), torch.randn(1, 12, 16, dtype=torch.float64)
    far = x.index_fill(1, torch.tensor([0]), 3.0)
    tokens, changed = (Tokens(t, Side(causal=True)) for t in (x, far))
    early, late = ([m.x for m in model.features(t, [2, 3])] for t in (tokens, changed))
    assert torch.equal(early[0][:, 4:], late[0][:, 4:])  # two diagonal layers: nothing leaves the first block
    assert not torch.isclose(early[1][:, 4:], late[1][:, 4:], rtol=0, atol=1e-9).all(-1).any()


def test_an_unknown_variant_raises():
    with pytest.raises(ValueError, match="variant must be one of t1, t2, not 't3'"):
        transnormer(variant="t3")
