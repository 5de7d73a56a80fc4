"""timm's TNT, saved by timm's own export, computed by the one core."""

from typing import Any

import pytest
import torch

import unimodal
from unimodal.errors import CheckpointError
from unimodal.pretrained import load_with_info

timm = pytest.importorskip("timm")
pytestmark = pytest.mark.parity
TINY = {"embed_dim": 48, "inner_dim": 6, "depth": 2, "num_heads_inner": 2, "num_heads_outer": 3, "img_size": 48}
HUB = "timm:tnt_s_patch16_224"


@pytest.fixture
def saved(saved_by_timm):
    def saved(architecture: str = "tnt_s_patch16_224", **settings: Any) -> Any:
        return saved_by_timm(architecture, **{**TINY, **settings})

    return saved


@pytest.mark.parametrize(
    "settings",
    [
        {"num_classes": 7},
        {"num_classes": 0},
        {"num_classes": 7, "global_pool": "avg", "qkv_bias": True},
        {"num_classes": 5, "mlp_ratio": 2.0, "patch_size": 8, "first_stride": 2, "img_size": 32},
    ],
)
def test_tokens_and_outputs_are_the_peers(saved, pixels, same, settings):
    peer, spec = saved(**settings)
    model = unimodal.load(spec)
    edge = peer.pixel_embed.img_size[0]
    batch = pixels(3, edge, edge)
    with torch.inference_mode():
        same(model(batch).x[..., :48], peer.forward_features(batch.data))
        same(model.embed(batch), peer(batch.data))


@pytest.mark.parametrize(
    "architecture", ["tnt_s_patch16_224", pytest.param("tnt_b_patch16_224", marks=pytest.mark.slow)]
)
def test_the_published_sizes_are_the_peers_with_their_gradients(architecture, pixels, same, parity, tmp_path):
    torch.manual_seed(0)
    peer = timm.create_model(architecture).eval()
    for parameter in peer.parameters():  # no norm or bias is left at one or zero
        parameter.data += 0.02 * torch.randn_like(parameter)
    timm.models.save_for_hf(peer, tmp_path, safe_serialization=True)
    model, info = load_with_info(f"timm:{tmp_path}")
    ours: Any = model
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in peer.parameters())
    assert info.card["conversion"]["set aside"] == {}
    batch = pixels(1, 224, 224)
    found, wanted = ours.embed(batch), peer(batch.data)
    parity("TNT", "image", HUB, found.detach(), wanted.detach())
    found.square().sum().backward()
    wanted.square().sum().backward()
    first, last, stem = ours.transformer.blocks[0], ours.transformer.blocks[-1], ours.tokenizers["image"].stem
    for a, b in (
        (stem.to_words.weight, peer.pixel_embed.proj.weight),
        (stem.position.table, peer.pixel_pos[0].flatten(1).T),
        (first.inner.mixer.to_out.weight, peer.blocks[0].attn_in.proj.weight),
        (first.to_sentence.weight, peer.blocks[0].proj.weight),
        (last.outer.ffn.to_out.weight, peer.blocks[-1].mlp.fc2.weight),
    ):
        other = peer.pixel_pos.grad[0].flatten(1).T if a is stem.position.table else b.grad
        torch.testing.assert_close(a.grad, other, rtol=0, atol=1e-4 * other.abs().max().item())


def test_another_size_of_picture_has_its_positions_resampled(saved, pixels, same):
    from timm.layers import resample_abs_pos_embed

    peer, spec = saved(num_classes=7)
    model = unimodal.load(spec)
    larger = timm.create_model("tnt_s_patch16_224", **{**TINY, "num_classes": 7, "img_size": 80}).eval()
    weights = peer.state_dict()
    weights["patch_pos"] = resample_abs_pos_embed(weights["patch_pos"], [5, 5], num_prefix_tokens=1)
    larger.load_state_dict(weights)
    batch = pixels(2, 80, 80)
    with torch.inference_mode():
        same(model.embed(batch), larger(batch.data))
        assert model.embed(pixels(2, 32, 64)).isfinite().all()


def test_the_older_form_is_refused_by_name(saved):
    _, spec = saved("tnt_s_legacy_patch16_224")
    with pytest.raises(CheckpointError, match="legacy is True"):
        unimodal.load(spec)
