"""A model without centring is the same function as the model with layer norms."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn as nn
from torch.nn.utils.parametrize import register_parametrization

import unimodal
from unimodal.block import Block
from unimodal.drop_centring import drop_centring
from unimodal.ffns.gated import Gated
from unimodal.ffns.plain import Plain
from unimodal.kernels.norm import norm as normed
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


class WithoutMean(nn.Module):
    """The zero-mean linear map's weight or bias: W - 1 1^T W / D at every use, so it stays without mean in training."""

    def forward(self, raw: torch.Tensor) -> torch.Tensor:
        return raw - raw.mean(0)


class Scaled(nn.Module):
    """A layer norm's weight and bias behind an RMS norm."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: torch.Tensor, side: Side = Side()) -> torch.Tensor:
        return normed(x, "rms", weight=self.weight, bias=self.bias, eps=self.eps)


def test_with_maps_centred_at_every_use_training_by_gradient_descent_is_that_with_layer_norms():
    part = Part(Transformer, depth=2, blocks=BLOCK.replace(layer_scale=None), norm=Part(LayerNorm))
    with_layer: Any = part(12).double()
    with_rms: Any = copy.deepcopy(with_layer)
    for block in with_rms.blocks:
        block.norm_mixer, block.norm_ffn = Scaled(block.norm_mixer), Scaled(block.norm_ffn)
        for plain in (block.mixer.to_out, block.ffn.to_out):
            for name in ("weight", "bias"):
                register_parametrization(plain, name, WithoutMean())
    with_rms.norm = Scaled(with_rms.norm)
    x = torch.randn(4, 5, 12, dtype=torch.float64)
    target = torch.randn_like(x)
    losses = []
    for model, inputs in ((with_layer, x), (with_rms, x - x.mean(-1, keepdim=True))):
        descent = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        course = []
        for _ in range(20):
            loss = (model(Tokens(inputs, Side())).x - target).square().mean()
            descent.zero_grad()
            loss.backward()
            descent.step()
            course.append(loss.detach())
        losses.append(torch.stack(course))
    torch.testing.assert_close(losses[1], losses[0], rtol=0, atol=1e-9)
    assert losses[0][-1] < 0.8 * losses[0][0]


@pytest.mark.parity
@pytest.mark.slow
@torch.inference_mode()
def test_timms_vision_transformer_keeps_its_logits_without_centring_and_has_the_known_numbers_of_parameters(tmp_path):
    timm = pytest.importorskip("timm")
    peer = timm.create_model("vit_tiny_patch16_224", num_classes=10).eval()
    for name, parameter in peer.named_parameters():
        if "norm" in name or name.endswith("bias"):
            parameter.add_(0.2 * torch.randn_like(parameter))
    timm.models.save_for_hf(peer, tmp_path, safe_serialization=True)
    model: Any = load(f"timm:{tmp_path}")
    pixels = torch.randn(2, 3, 224, 224)
    # Ours lacks the class token's own position, which is folded into the token, and keeps the last norm's weight and
    # bias; compressed, the stem (769 of it), positions and the classifier stay as wide as they were.
    published = {"layer": 5_526_346, "rms": 5_516_746, "crms": 5_488_097}
    ours = {"layer": -192, "rms": -192 + 2 * 192, "crms": -191 + 2 * 192 + 769 + 196 + 1 + 10}
    for dtype, gap in ((torch.float32, 1e-5), (torch.float64, 1e-12)):
        base, means = model.to(dtype), []
        batch = Batch("image", pixels.to(dtype))
        want = base.embed(batch)
        torch.testing.assert_close(want, peer.to(dtype)(batch.data), rtol=0, atol=1e-5 * want.abs().max().item())
        made: dict[str, Any] = {
            "layer": base,
            "rms": drop_centring(base),
            "crms": drop_centring(base, compressed=True),
        }
        for block in made["rms"].transformer.blocks:
            block.register_forward_hook(lambda _block, _in, out, means=means: means.append(out.mean(-1).abs().max()))
        for name, new in made.items():
            torch.testing.assert_close(new.embed(batch), want, rtol=0, atol=gap * want.abs().max().item())
            assert sum(parameter.numel() for parameter in new.parameters()) == published[name] + ours[name]
        assert len(means) == 12
        assert max(means) < (1e-12 if dtype == torch.float64 else 1e-5)


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
