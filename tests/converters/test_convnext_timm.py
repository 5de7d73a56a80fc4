"""timm's ConvNeXt, saved by timm's own export, computed by the one core; and torchvision's under other names."""

import re
from typing import Any

import pytest
import torch

import unimodal
from unimodal.errors import CheckpointError
from unimodal.pretrained import load_with_info
from unimodal.recipes.convnext import convnext

timm = pytest.importorskip("timm")
pytestmark = pytest.mark.parity
TINY = {"depths": (1, 1, 2, 1), "dims": (16, 32, 48, 64), "num_classes": 7}
# What is tested: the architecture, its settings (it is small), what people call it, a published name that comes here.
PEERS = {
    "ConvNeXt": ("convnext_tiny", {}, "ConvNeXt", "convnext_tiny.fb_in1k"),
    "maps of one cell as convolutions": ("convnext_atto", {}, "ConvNeXt", "convnext_atto.d2_in1k"),
    "without classifier": ("convnext_base", {"num_classes": 0}, "ConvNeXt", "convnext_base.fb_in22k"),
    "the norm in front of the mean": ("convnext_tiny_hnf", {}, "ConvNeXt", "convnext_tiny_hnf.a2h_in1k"),
    "other kernels": ("test_convnext3", {"dims": (16, 32, 48, 64)}, "ConvNeXt", "test_convnext3.r160_in1k"),
    "CLIP": ("convnext_base", {"norm_eps": 1e-5}, "CLIP", "convnext_base.clip_laion2b"),
    "CLIP, two maps": (
        "convnext_large_mlp",
        {"head_hidden_size": 64},
        "CLIP",
        "convnext_large_mlp.clip_laion2b_augreg",
    ),
    "CLIP, two maps, without classifier": (
        "convnext_large_mlp",
        {"head_hidden_size": 64, "num_classes": 0},
        "CLIP",
        "convnext_large_mlp.clip_laion2b_augreg",
    ),
    "V2": ("convnextv2_tiny", {}, "ConvNeXt V2", "convnextv2_tiny.fcmae_ft_in1k"),
    "V2, maps as convolutions": ("convnextv2_atto", {}, "ConvNeXt V2", "convnextv2_atto.fcmae_ft_in1k"),
}


@pytest.fixture
def saved(saved_by_timm):
    def saved(architecture: str, **settings: Any) -> Any:
        return saved_by_timm(architecture, **{**TINY, **settings})

    return saved


@pytest.mark.parametrize("images, rows, columns", [(2, 96, 96), (3, 97, 130)])
@pytest.mark.parametrize("name", PEERS)
def test_features_and_outputs_are_the_peers(saved, pixels, same, parity, name, images, rows, columns):
    architecture, settings, family, hub = PEERS[name]
    peer, spec = saved(architecture, **settings)
    model, batch = unimodal.load(spec), pixels(images, rows, columns)
    with torch.inference_mode():
        theirs = peer.forward_intermediates(batch.data, intermediates_only=True)
        for ours, map_BDYX in zip(model.features(batch, [1, 2, 3, 4]), theirs, strict=True):
            assert ours.side.grid == tuple(map_BDYX.shape[2:])
            same(ours.x, map_BDYX.flatten(2).mT)
        parity(family, "image", f"timm:{hub}", model.embed(batch), peer(batch.data))


@pytest.mark.parametrize("size", ["atto", "tiny"])
def test_a_published_size_is_the_peers_with_its_gradients(tmp_path, randomise, pixels, parity, size):
    peer = randomise(timm.create_model(f"convnext_{size}"))
    timm.models.save_for_hf(peer, tmp_path, safe_serialization=True)
    model, info = load_with_info(f"timm:{tmp_path}")
    ours: Any = model
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in peer.parameters())
    assert info.card["conversion"]["set aside"] == {}
    with torch.device("meta"):
        wanted = convnext(size, classes=1000)().state_dict()
    assert {name: t.shape for name, t in ours.state_dict().items()} == {name: t.shape for name, t in wanted.items()}
    batch = pixels(1, 224, 224)
    found, wanted = ours.embed(batch), peer(batch.data)
    parity("ConvNeXt", "image", f"timm:convnext_{size}", found.detach(), wanted.detach())
    found.square().sum().backward()
    wanted.square().sum().backward()
    mine, other = ours.transformer.stages[0].blocks[0], peer.stages[0].blocks[0]
    for a, b in (
        (ours.tokenizers["image"].stem.project.weight, peer.stem[0].weight),
        (mine.branch[0].weight, other.conv_dw.weight),
        (mine.scale, other.gamma),
        (ours.transformer.between[2].convolution.weight, peer.stages[3].downsample[1].weight),
    ):
        torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=1e-4 * b.grad.abs().max().item())


def test_weights_of_masked_pre_training_have_no_norm_behind_the_mean(saved, tmp_path, pixels, same):
    from safetensors.torch import load_file, save_file

    peer, spec = saved("convnextv2_atto", num_classes=0)
    weights = load_file(tmp_path / "model.safetensors")
    save_file({name: t for name, t in weights.items() if "head" not in name}, tmp_path / "model.safetensors")
    batch = pixels(2, 64, 64)
    with torch.inference_mode():
        same(unimodal.load(spec).embed(batch), peer.forward_features(batch.data).mean((2, 3)))


def test_a_name_of_timms_registry_loads_through_the_hubs_cache(tmp_path, monkeypatch, randomise, pixels, same):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    repository, commit = tmp_path / "models--timm--convnext_tiny.fb_in1k", "0" * 40
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    peer = randomise(timm.create_model("convnext_tiny"))
    timm.models.save_for_hf(peer, repository / "snapshots" / commit, safe_serialization=True)
    batch = pixels(1, 64, 96)
    with torch.inference_mode():
        same(unimodal.load("timm:convnext_tiny.fb_in1k").embed(batch), peer(batch.data))


def in_torchvision(name: str) -> str:
    """torchvision's name of one of our tensors."""
    rules = (
        (r"tokenizers\.image\.stem\.project", "features.0.0"),
        (r"^norm", "features.0.1"),
        (r"readout\.norm", "classifier.0"),
        (r"readout\.project", "classifier.2"),
        (r"transformer\.between\.(\d)", lambda found: f"features.{2 * int(found[1]) + 2}"),
        (r"transformer\.stages\.(\d)\.blocks", lambda found: f"features.{2 * int(found[1]) + 1}"),
        (r"before", "0"),
        (r"convolution", "1"),
        (r"branch\.2\.to_out", "block.5"),
        (r"branch\.2\.to_hidden", "block.3"),
        (r"branch\.1", "block.2"),
        (r"branch\.0", "block.0"),
        (r"scale$", "layer_scale"),
    )
    for ours, theirs in rules:
        name = re.sub(ours, theirs, name)
    return name


@pytest.mark.parametrize("sizes", [(224, 224), (97, 130)])
def test_torchvisions_tiny_is_the_same_network_under_other_names(randomise, pixels, same, sizes):
    torchvision = pytest.importorskip("torchvision")
    peer: Any = randomise(torchvision.models.convnext_tiny())
    model: Any = convnext("tiny", classes=1000)().eval()
    theirs = peer.state_dict()
    model.load_state_dict({name: theirs[in_torchvision(name)].view_as(t) for name, t in model.state_dict().items()})
    batch = pixels(1, *sizes)
    x = batch.data
    with torch.inference_mode():
        for i, tokens in enumerate(model.features(batch, [1, 2, 3, 4])):
            x = peer.features[2 * i + 1](peer.features[2 * i](x))
            same(tokens.x, x.flatten(2).mT)
        same(model.embed(batch), peer(batch.data))


@pytest.mark.parametrize(
    "architecture, settings, cause",
    [
        ("convnext_atto_ols", {}, "the stem is"),
        ("convnext_atto_rms", {}, "the stem is"),
        ("convnext_tiny", {"output_stride": 16}, r"the strides is \[2, 2, 1\]"),
        ("convnext_tiny", {"conv_bias": False}, "conv_bias is False"),
        ("convnext_tiny", {"global_pool": "max"}, "pooling is 'max'"),
        ("convnext_tiny", {"act_layer": "mish"}, "the activation is 'Mish'"),
        ("convnext_large_mlp", {"head_hidden_size": 48}, "head_hidden_size is 48"),
    ],
)
def test_what_the_core_cannot_do_is_refused_by_name(saved, architecture, settings, cause):
    _, spec = saved(architecture, **settings)
    with pytest.raises(CheckpointError, match=cause):
        unimodal.load(spec)
