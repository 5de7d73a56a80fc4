"""transformers' Swin, saved by ``save_pretrained``, computed by the one core."""

import copy
from typing import Any

import pytest
import torch

import unimodal
from unimodal.errors import CheckpointError
from unimodal.pretrained import load_with_info

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity
TINY = {"embed_dim": 12, "num_heads": [1, 2, 3, 4], "depths": [2, 2, 2, 2], "window_size": 3, "image_size": 96}
HUB = "transformers:microsoft/swin-tiny-patch4-window7-224"


@pytest.fixture
def saved(tmp_path, randomise):
    def saved(kind: str = "ForImageClassification", **settings: Any) -> Any:
        config = transformers.SwinConfig(**{**TINY, "num_labels": 7, **settings})
        peer = randomise(getattr(transformers, f"Swin{kind}")(config))
        peer.save_pretrained(tmp_path)
        return peer, f"transformers:{tmp_path}"

    return saved


@pytest.mark.parametrize("images, rows, columns", [(2, 96, 96), (1, 224, 224), (3, 131, 90), (1, 101, 234)])
@pytest.mark.parametrize("settings", [{}, {"qkv_bias": False, "mlp_ratio": 3.0, "hidden_act": "relu"}])
def test_logits_and_features_are_the_peers(saved, pixels, same, parity, settings, images, rows, columns):
    peer, spec = saved(**settings)
    model = unimodal.load(spec)
    batch = pixels(images, rows, columns)
    with torch.inference_mode():
        wanted = {"output_hidden_states": True, "output_hidden_states_before_downsampling": True}
        theirs = copy.deepcopy(peer)(batch.data, **wanted)  # a layer that has seen a small lattice shifts no more
        parity("Swin", "image", HUB, model.embed(batch), theirs.logits)
        found = model.features(batch, [0, 1, 2, 3, 4])
    for ours, feature in zip(found, theirs.reshaped_hidden_states, strict=True):
        same(ours.x.mT.unflatten(-1, ours.side.grid), feature)


def test_without_a_classifier_the_pooled_vector_is_the_peers(saved, pixels, same):
    peer, spec = saved("Model")
    batch = pixels(2, 96, 128)
    same(unimodal.load(spec).embed(batch).detach(), peer(batch.data).pooler_output.detach())


def test_every_parameter_is_accounted_for(saved):
    peer, spec = saved()
    model, info = load_with_info(spec)
    assert (info.card["conversion"]["folded"], info.card["conversion"]["set aside"]) == (0, {})
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in peer.parameters())


def test_a_network_for_masked_pictures_leaves_its_token_aside_and_its_decoder_unexpected(saved):
    _, spec = saved("ForMaskedImageModeling")
    with pytest.raises(CheckpointError, match=r"2 are unexpected[\s\S]*decoder\.0\.weight"):
        unimodal.load(spec)


def test_pictures_reach_the_stem_as_through_the_peers_own_processor(saved, tmp_path, photo, normalised):
    _, spec = saved(image_size=224)
    settings = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "resample": 3}
    processor = transformers.ViTImageProcessor(size={"height": 224, "width": 224}, **settings)
    processor.save_pretrained(tmp_path)
    model = unimodal.load(spec)
    theirs = processor(photo, return_tensors="pt")["pixel_values"]
    assert 255 * 0.229 * (normalised(model) - theirs).abs().max() < 1.01


@pytest.mark.parametrize(
    "settings, cause",
    [
        ({"use_absolute_embeddings": True}, "use_absolute_embeddings is True"),
        ({"layer_norm_eps": 1e-6}, "layer_norm_eps is 1e-06"),
        ({"num_channels": 4}, "num_channels is 4"),
    ],
)
def test_settings_without_a_part_are_refused_by_name(saved, settings, cause):
    _, spec = saved(**settings)
    with pytest.raises(CheckpointError, match=cause):
        unimodal.load(spec)
