"""timm's Swin, saved by timm's own export, computed by the one core."""

import json
from typing import Any

import pytest
import torch

import unimodal
from unimodal.errors import CheckpointError
from unimodal.pretrained import load_with_info

timm = pytest.importorskip("timm")
pytestmark = pytest.mark.parity
SWIN, SEARCHED = "swin_tiny_patch4_window7_224", "swin_s3_tiny_224"
TINY = {"embed_dim": 12, "depths": (2, 2, 2, 2), "num_heads": (1, 2, 3, 4), "num_classes": 7, "dynamic_img_size": True}
HUB = "timm:swin_tiny_patch4_window7_224.ms_in1k"


@pytest.fixture
def saved(saved_by_timm):
    def saved(architecture: str = SWIN, **settings: Any) -> Any:
        return saved_by_timm(architecture, **{**TINY, **settings})

    return saved


@pytest.mark.parametrize(
    "architecture, settings",
    [
        (SWIN, {}),
        (SWIN, {"num_classes": 0, "qkv_bias": False, "img_size": (120, 200)}),
        (SWIN, {"window_size": ((7, 5), (4, 4), (7, 2), (3, 3)), "mlp_ratio": 3.0, "always_partition": True}),
        (SEARCHED, {}),
    ],
)
@pytest.mark.parametrize("images, rows, columns", [(2, 224, 224), (1, 100, 260), (3, 64, 36)])
def test_logits_and_features_are_the_peers(saved, pixels, same, parity, architecture, settings, images, rows, columns):
    peer, spec = saved(architecture, **settings)
    model = unimodal.load(spec)
    batch = pixels(images, rows, columns)
    with torch.inference_mode():
        parity("Swin", "image", HUB, model.embed(batch), peer(batch.data))
        found, wanted = model.features(batch, [1, 2, 3, 4]), peer.forward_intermediates(batch.data)[1]
    for ours, theirs in zip(found, wanted, strict=True):
        same(ours.x.mT.unflatten(-1, ours.side.grid), theirs)


def test_every_parameter_is_accounted_for_with_its_gradient(saved, pixels):
    peer, spec = saved()
    model, info = load_with_info(spec)
    ours: Any = model
    assert (info.card["conversion"]["folded"], info.card["conversion"]["set aside"]) == (0, {})
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in peer.parameters())
    batch = pixels(2, 128, 100)
    ours.embed(batch).square().sum().backward()
    peer(batch.data).square().sum().backward()
    first, last = ours.transformer.stages[0].blocks[1], ours.transformer.between[2]
    for mine, other in (
        (first.mixer.mixer.attention.table, peer.layers[0].blocks[1].attn.relative_position_bias_table),
        (first.mixer.mixer.to_qkv.weight, peer.layers[0].blocks[1].attn.qkv.weight),
        (last.reduction.weight, peer.layers[3].downsample.reduction.weight),
        (ours.tokenizers["image"].stem.project.weight, peer.patch_embed.proj.weight),
    ):
        torch.testing.assert_close(mine.grad, other.grad, rtol=0, atol=1e-4 * other.grad.abs().max().item())


def test_weights_in_the_layout_of_the_papers_authors_are_read_too(saved, pixels, same, tmp_path):
    from safetensors.torch import load_file, save_file

    peer, spec = saved()
    weights = {}
    for name, tensor in load_file(tmp_path / "model.safetensors").items():
        parts = name.split(".")
        if "downsample" in parts:
            parts[1] = str(int(parts[1]) - 1)
        weights[".".join(parts).replace("head.fc", "head")] = tensor
    weights["layers.0.blocks.1.attn_mask"] = torch.zeros(64, 49, 49)
    weights["layers.0.blocks.1.attn.relative_position_index"] = torch.zeros(49, 49)
    save_file(weights, tmp_path / "model.safetensors")
    model, info = load_with_info(spec)
    batch = pixels(1, 224, 224)
    ours: Any = model
    same(ours.embed(batch).detach(), peer(batch.data).detach())
    assert set(info.card["conversion"]["set aside"]) == {
        "layers.0.blocks.1.attn_mask",
        "layers.0.blocks.1.attn.relative_position_index",
    }


def test_a_name_of_timms_registry_loads_through_the_hub_cache(tmp_path, monkeypatch, pixels, same):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--timm--swin_tiny_patch4_window7_224.ms_in1k"
    folder = repository / "snapshots" / ("0" * 40)
    folder.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    peer = timm.create_model(SWIN, num_classes=3).eval()
    timm.models.save_for_hf(peer, folder, model_args={"num_classes": 3}, safe_serialization=True)
    assert json.loads((folder / "config.json").read_text())["architecture"] == SWIN
    model, batch = unimodal.load(HUB), pixels(1, 224, 224)
    with torch.inference_mode():
        same(model.embed(batch), peer(batch.data))
    image = model.tokenizers["image"]
    assert (image.size, image.crop_fraction, image.mean) == ((224, 224), 0.9, (0.485, 0.456, 0.406))


@pytest.mark.parametrize(
    "settings, cause",
    [
        ({"global_pool": "max"}, "pooling is 'max'"),
        ({"head_dim": 16}, "the head width is 48"),
        ({"mlp_ratio": (4.0, 4.0, 4.0, 2.0)}, "the hidden widths over the widths"),
    ],
)
def test_settings_without_a_part_are_refused_by_name(saved, settings, cause):
    _, spec = saved(**settings)
    with pytest.raises(CheckpointError, match=cause):
        unimodal.load(spec)
