"""A model without centring is the same function as the model with layer norms."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn as nn

import unimodal
from unimodal.block import Block
from unimodal.drop_centring import drop_centring
from unimodal.ffns.gated import Gated
from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.model import Model
from unimodal.norms.layer import LayerNorm
from unimodal.norms.rms import RMSNorm
from unimodal.part import Part
from unimodal.pretrained import load
from unimodal.recipes.vit import vit
from unimodal.sample import Batch
from unimodal.side import Side
from unimodal.tokens import Tokens
from unimodal.transformer import Transformer

SAMPLES = sorted((Path(unimodal.__file__).parent / "data" / "samples").glob("object_*.jpg"))
BLOCK = Part(Block, mixer=Part(Full, heads=3), ffn=Part(Plain), layer_scale=0.5)


def core(block: Part = BLOCK, norm: Part | None = Part(LayerNorm)) -> Any:
    part = Part(Transformer, depth=2, blocks=block, norm=norm)
    model = Model(12, tokenizers={}, transformer=part).double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.7)
    return model


def run(model: Any, x: torch.Tensor, side: Side = Side()) -> torch.Tensor:
    return model.transformer(model.place(Tokens(x, side), "any")).x


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    "block",
    [
        BLOCK,
        BLOCK.replace(layer_scale=None, ffn=Part(Gated)),
        BLOCK.replace(layout="parallel"),
        BLOCK.replace(ffn=None),
        BLOCK.replace(norm=Part(LayerNorm, bias=False, eps=0.1)),
    ],
)
def test_outputs_and_gradients_of_the_tokens_are_the_models(block, compressed):
    model = core(block)
    before, new = copy.deepcopy(model.state_dict()), drop_centring(model, compressed=compressed)
    x = (3 + torch.randn(2, 5, 12, dtype=torch.float64)).requires_grad_()
    want, got = run(model, x), run(new, x)
    torch.testing.assert_close(got, want, rtol=0, atol=1e-10)
    probe = torch.randn_like(want)
    grads = [torch.autograd.grad((y * probe).sum(), x)[0] for y in (want, got)]
    torch.testing.assert_close(grads[1], grads[0], rtol=0, atol=1e-10)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(isinstance(module, LayerNorm) for module in new.modules())


def test_the_stream_has_no_mean_in_any_block():
    new: Any = drop_centring(core())
    tokens = new.place(Tokens(5 + torch.randn(2, 5, 12, dtype=torch.float64), Side()), "any")
    for stream in new.transformer.features(tokens, [0, 1]):
        assert stream.x.mean(-1).abs().max() < 1e-12
    assert run(new, torch.randn(1, 4, 12, dtype=torch.float64)).mean(-1).abs().max() > 1e-3  # the last norm has a bias


@torch.inference_mode()
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(("dtype", "gap"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_the_shipped_encoder_sees_the_same_in_real_pictures(compressed, dtype, gap):
    model: Any = load("unimodal:small_image_encoder").to(dtype)
    image = model.tokenizer("image")
    batch = image.collate([image.read(path) for path in SAMPLES])
    new = drop_centring(model, compressed=compressed)
    want = model(batch).x
    assert len(SAMPLES) == 4
    torch.testing.assert_close(new(batch).x, want, rtol=0, atol=gap * want.abs().max().item())
    torch.testing.assert_close(new.embed(batch), model.embed(batch), rtol=0, atol=gap * want.abs().max().item())


@torch.inference_mode()
@pytest.mark.parametrize("compressed", [False, True])
def test_a_vision_transformer_with_a_class_token_is_the_same(compressed):
    part = vit("tiny", image=32)
    model: Any = part.replace(transformer=part.kwargs["transformer"].replace(depth=2))().double().eval()
    batch = Batch("image", torch.randn(2, 3, 32, 32, dtype=torch.float64))
    torch.testing.assert_close(drop_centring(model, compressed=compressed)(batch).x, model(batch).x, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (BLOCK.replace(layout="post"), "not in a post block"),
        (BLOCK.replace(norm=Part(RMSNorm)), "RMSNorm where LayerNorm is needed"),
    ],
)
def test_blocks_for_which_it_does_not_hold_are_refused(block, message):
    with pytest.raises(ValueError, match=message):
        drop_centring(core(block))


def test_a_core_without_a_last_norm_is_refused():
    with pytest.raises(ValueError, match="layer norm behind its blocks"):
        drop_centring(core(norm=None))


def test_a_memory_is_refused_because_it_passes_no_norm():
    x = torch.randn(1, 3, 12, dtype=torch.float64)
    with pytest.raises(ValueError, match="'memory'"):
        run(drop_centring(core()), x, Side(memory=Tokens(x, Side())))
