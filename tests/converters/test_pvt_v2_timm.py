"""timm's PVTv2, saved by timm's own export, computed by the one core."""

from typing import Any

import pytest
import torch

import unimodal
from unimodal.errors import CheckpointError
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.pretrained import load_with_info
from unimodal.recipes.pvt_v2 import pvt_v2

timm = pytest.importorskip("timm")
pytestmark = pytest.mark.parity
TINY = {"depths": (1, 2, 1, 1), "embed_dims": (8, 12, 20, 16), "num_heads": (1, 2, 5, 4), "mlp_ratios": (2, 3, 2, 2)}


@pytest.fixture
def saved(saved_by_timm):
    def saved(architecture: str = "pvt_v2_b1", **settings: Any) -> Any:
        return saved_by_timm(architecture, **{**TINY, **settings})

    return saved


@pytest.mark.parametrize("images, rows, columns", [(2, 96, 96), (3, 97, 131)])
@pytest.mark.parametrize(
    "architecture, settings",
    [
        ("pvt_v2_b1", {"num_classes": 7}),
        ("pvt_v2_b2_li", {"num_classes": 7}),
        ("pvt_v2_b1", {"num_classes": 0, "qkv_bias": False, "sr_ratios": (4, 4, 1, 1)}),
    ],
)
def test_features_and_outputs_are_the_peers(saved, pixels, same, architecture, settings, images, rows, columns):
    peer, spec = saved(architecture, **settings)
    model, batch = unimodal.load(spec), pixels(images, rows, columns)
    with torch.inference_mode():
        theirs = peer.forward_intermediates(batch.data, intermediates_only=True)
        for ours, map_BDYX in zip(model.features(batch, [1, 2, 3, 4]), theirs, strict=True):
            assert ours.side.grid == tuple(map_BDYX.shape[2:])
            same(ours.x, map_BDYX.flatten(2).mT)
        same(model.embed(batch), peer(batch.data))


@pytest.mark.parametrize("size", ["b0", pytest.param("b2_li", marks=pytest.mark.slow)])
def test_a_published_size_is_the_peers_with_its_gradients(tmp_path, pixels, parity, size):
    torch.manual_seed(0)
    peer = timm.create_model(f"pvt_v2_{size}").eval()
    for parameter in peer.parameters():  # no norm or bias is left at one or zero
        parameter.data += 0.02 * torch.randn_like(parameter)
    timm.models.save_for_hf(peer, tmp_path, safe_serialization=True)
    loaded: Any = load_with_info(f"timm:{tmp_path}")
    model, info = loaded
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in peer.parameters())
    assert info.card["conversion"]["set aside"] == {}
    recipe = pvt_v2(size, classes=1000, norm=Part(LayerNorm, eps=1e-6)).to_json()["with"]
    assert {**info.part.to_json()["with"], "tokenizers": 0} == {**recipe, "tokenizers": 0}
    batch = pixels(1, 224, 224)
    found, wanted = model.embed(batch), peer(batch.data)
    parity("PVTv2", "image", f"timm:pvt_v2_{size}.in1k", found.detach(), wanted.detach())
    found.square().sum().backward()
    wanted.square().sum().backward()
    mine, other = model.transformer.stages[0].blocks[0], peer.stages[0].blocks[0]
    for a, b in (
        (model.tokenizers["image"].stem.project.weight, peer.patch_embed.proj.weight),
        (mine.ffn.parts[-1].project.weight, other.mlp.fc2.weight),
        (model.transformer.between[2].convolution.weight, peer.stages[3].downsample.proj.weight),
        (model.transformer.stages[3].norm.weight, peer.stages[3].norm.weight),
    ):
        torch.testing.assert_close(a.grad, b.grad, rtol=0, atol=1e-4 * b.grad.abs().max().item())


def test_a_network_without_pooling_is_refused_by_name(saved):
    _, spec = saved(global_pool="")
    with pytest.raises(CheckpointError, match="pooling is ''"):
        unimodal.load(spec)
