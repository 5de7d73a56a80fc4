"""transformers' DINOv2 with and without registers, saved by ``save_pretrained``, computed by the one core."""

from typing import Any

import pytest
import torch

import unimodal
from unimodal.errors import CheckpointError
from unimodal.pretrained import load_with_info

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity
TINY = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 56, "patch_size": 14}


@pytest.fixture
def saved(tmp_path, randomise):
    def saved(family: str, kind: str = "Model", **settings: Any) -> Any:
        config = getattr(transformers, f"{family}Config")(**{**TINY, **settings})
        peer = randomise(getattr(transformers, family + kind)(config))
        peer.save_pretrained(tmp_path)
        return peer, f"transformers:{tmp_path}"

    return saved


@pytest.mark.parametrize("family", ["Dinov2", "Dinov2WithRegisters"])
@pytest.mark.parametrize("settings", [{}, {"use_swiglu_ffn": True, "qkv_bias": False}])
@pytest.mark.parametrize("images, rows, columns", [(3, 56, 56), (5, 42, 70), (1, 28, 28)])
def test_tokens_and_class_token_are_the_peers(saved, pixels, same, parity, family, settings, images, rows, columns):
    peer, spec = saved(family, **settings)
    model = unimodal.load(spec)
    batch = pixels(images, rows, columns)
    with torch.inference_mode():
        theirs = peer(batch.data)
        same(model(batch).x, theirs.last_hidden_state)
        parity("DINOv2", "image", "transformers:facebook/dinov2-small", model.embed(batch), theirs.pooler_output)


@pytest.mark.parametrize("family", ["Dinov2", "Dinov2WithRegisters"])
def test_every_parameter_is_accounted_for(saved, family):
    peer, spec = saved(family)
    model, info = load_with_info(spec)
    account = info.card["conversion"]
    assert account["folded"] == 48
    assert list(account["set aside"]) == ["embeddings.mask_token"]
    assert sum(p.numel() for p in model.parameters()) + 48 + 48 == sum(p.numel() for p in peer.parameters())


def test_a_backbone_under_a_classifier_leaves_the_classifier_unexpected(saved):
    _, spec = saved("Dinov2", "ForImageClassification", num_labels=7)
    with pytest.raises(CheckpointError, match=r"2 are unexpected[\s\S]*classifier\.weight"):
        unimodal.load(spec)


def test_pictures_reach_the_stem_as_through_the_peers_own_processor(saved, tmp_path, photo, normalised):
    _, spec = saved("Dinov2", image_size=224)
    processor = transformers.BitImageProcessor(
        size={"shortest_edge": 256}, crop_size={"height": 224, "width": 224}, image_mean=[0.485, 0.456, 0.406]
    )
    processor.save_pretrained(tmp_path)
    theirs = processor(photo, return_tensors="pt")["pixel_values"]
    model = unimodal.load(spec)
    ours = normalised(model)
    assert ours.shape == theirs.shape
    # Ours cuts and resizes in one step: at the cut its filter sees nothing behind the edge.
    inner = (ours - theirs).abs()[..., 3:-3, 3:-3]
    assert 255 * max(model.tokenizers["image"].std) * inner.max() < 1.51
