"""A prepacked copy computes the same and leaves the model alone."""

from typing import Any

import pytest
import torch
import torch.nn as nn

from unimodal.part import Part
from unimodal.prepack import prepack
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
