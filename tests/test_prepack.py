"""A prepacked copy computes the same and leaves the model alone."""

from typing import Any

import pytest
import torch
import torch.nn as nn

from unimodal.ffns.dropout import DropoutFFN
from unimodal.ffns.gated import Gated
from unimodal.ffns.plain import Plain
from unimodal.kernels.linear import FEWEST
from unimodal.part import Part
from unimodal.prepack import choose, prepack
from unimodal.readouts.attention import AttentionReadout
from unimodal.recipes.vit import vit
from unimodal.sample import Batch

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch is built without oneDNN")


@pytest.fixture
def model() -> Any:
    part = vit("tiny", image=32, readout=Part(AttentionReadout, heads=3))
    return part.replace(transformer=part.kwargs["transformer"].replace(depth=2))().eval()


@pytest.fixture
def batch() -> Batch:
    return Batch("image", torch.randn(3, 3, 48, 32))


@torch.inference_mode()
def test_tokens_and_readout_are_the_models(model, batch):
    packed: Any = prepack(model)
    want, got = model(batch).x, packed(batch).x
    torch.testing.assert_close(got, want, rtol=0, atol=1e-5 * want.abs().max().item())
    want, got = model.embed(batch), packed.embed(batch)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-5 * want.abs().max().item())


def test_the_model_is_left_as_it_was_and_shares_its_parameters(model, batch):
    before = model(batch).x
    packed = prepack(model)
    assert type(model.transformer.blocks[0].ffn.to_out) is nn.Linear
    assert type(packed.get_submodule("transformer.blocks.0.ffn.to_out")) is not nn.Linear
    assert torch.equal(model(batch).x, before)
    pairs = list(zip(model.state_dict(keep_vars=True).items(), packed.state_dict(keep_vars=True).items(), strict=True))
    assert all(a[0] == b[0] and a[1] is b[1] for a, b in pairs)


def test_the_model_can_still_be_trained(model, batch):
    prepack(model)
    model.embed(batch).sum().backward()
    assert model.transformer.blocks[0].ffn.to_out.weight.grad.abs().sum() > 0


def test_a_gradient_through_the_copy_is_refused(model, batch):
    packed: Any = prepack(model)
    with pytest.raises(RuntimeError, match="has no gradient"):
        packed(batch)


def test_a_gradient_of_the_weight_alone_is_refused_too():
    packed = prepack(nn.Linear(8, 4, bias=False))
    with pytest.raises(RuntimeError, match="has no gradient"):
        packed(torch.randn(2, 8))


def test_maps_that_cannot_be_packed_are_kept(model):
    packed = prepack(model.double())
    assert type(packed.get_submodule("transformer.blocks.0.ffn.to_out")) is nn.Linear


def test_a_linear_map_by_itself_and_one_under_two_names_are_packed():
    x, plain = torch.randn(3, 8), nn.Linear(8, 8)
    both: Any = prepack(nn.ModuleDict({"a": plain, "b": plain}))
    with torch.no_grad():
        torch.testing.assert_close(prepack(plain)(x), plain(x))
    assert both["a"] is both["b"]
    assert type(both["a"]) is not nn.Linear


@pytest.mark.parametrize("activation", ["gelu", "gelu_tanh", "gelu_quick", "relu", "silu", "tanh"])
@pytest.mark.parametrize("rows", [2, 512])  # below and above what the packed map pays for
@torch.inference_mode()
def test_a_feed_forward_with_any_activation_is_the_same(activation, rows):
    assert 2 * 32 * 64 < FEWEST <= 512 * 32 * 64
    for ffn in (Plain(32, hidden=64, activation=activation), DropoutFFN(32, hidden=64, activation=activation).eval()):
        x = torch.randn(1, rows, 32)
        want = ffn.double()(x.double())
        packed: Any = prepack(ffn.float())
        got = packed(x).double()
        torch.testing.assert_close(got, want, rtol=0, atol=5e-6 * want.abs().max().item())
        assert isinstance(packed.activation, nn.Identity) == (activation != "gelu_quick")
        assert not isinstance(ffn.activation, nn.Identity)


@torch.inference_mode()
def test_a_gated_feed_forward_keeps_its_activation_where_it_is():
    gated, x = Gated(32, hidden=512).eval(), torch.randn(1, 64, 32)
    want = gated(x)
    torch.testing.assert_close(prepack(gated)(x), want, rtol=0, atol=1e-5 * want.abs().max().item())


def test_the_choice_counts_the_maps_that_fit_and_tells_why_others_do_not(model):
    maps = sum(type(m) is nn.Linear for m in model.modules())
    chosen = choose(model)
    assert (chosen.implementation, chosen.reason) == ("oneDNN with packed weights", f"{maps} of {maps} linear maps fit")
    model.transformer.blocks[0].ffn.to_out.double()
    assert choose(model).reason == (
        f"{maps - 1} of {maps} linear maps fit; a linear map cannot be packed: this processor's kernel does not take "
        "torch.float64"
    )
    assert choose(nn.LayerNorm(3)).reason == "it has no linear maps"
    assert prepack(model, implementation="reference") is model


def test_packing_that_is_demanded_and_cannot_be_is_an_error(model):
    with pytest.raises(RuntimeError, match="does not take torch.float64"):
        prepack(model.double(), implementation="require")
    with pytest.raises(RuntimeError, match="it has no linear maps"):
        prepack(nn.LayerNorm(3), implementation="require")
