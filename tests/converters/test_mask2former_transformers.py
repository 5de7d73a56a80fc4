"""transformers' Mask2Former, saved by ``save_pretrained``, computed by the core's parts."""

from typing import Any

import pytest
import torch

import unimodal
from unimodal.checkpoint import save
from unimodal.errors import CheckpointError
from unimodal.pretrained import load_with_info

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity
HUB = "transformers:facebook/mask2former-swin-tiny-coco-panoptic"
STAGES = ["stage1", "stage2", "stage3", "stage4"]
SWIN = {"embed_dim": 12, "num_heads": [1, 2, 3, 4], "depths": [1, 2, 1, 2], "window_size": 3, "image_size": 96}
TINY = {
    "feature_size": 32,
    "mask_feature_size": 20,
    "hidden_dim": 32,
    "encoder_feedforward_dim": 40,
    "dim_feedforward": 48,
    "encoder_layers": 2,
    "decoder_layers": 5,
    "num_attention_heads": 4,
    "num_queries": 7,
    "num_labels": 5,
}


@pytest.fixture
def saved(tmp_path, randomise):
    def saved(stages: list[str] = STAGES, **settings: Any) -> Any:
        backbone = transformers.SwinConfig(**SWIN, out_features=stages)
        config = transformers.Mask2FormerConfig(backbone_config=backbone, **{**TINY, **settings})
        peer = randomise(transformers.Mask2FormerForUniversalSegmentation(config))
        peer.save_pretrained(tmp_path)
        return peer, f"transformers:{tmp_path}"

    return saved


@pytest.mark.parametrize("images, rows, columns", [(2, 96, 96), (1, 133, 97), (1, 70, 121)])
@pytest.mark.parametrize("settings", [{}, {"hidden_dim": 24}, {"enforce_input_projection": True}])
def test_all_predictions_are_the_peers(saved, pixels, parity, same, settings, images, rows, columns):
    peer, spec = saved(**settings)
    batch = pixels(images, rows, columns)
    with torch.inference_mode():
        theirs = peer(batch.data, output_auxiliary_logits=True)
        found = unimodal.load(spec)(batch)
    for ours, wanted in zip(found, (*theirs.auxiliary_logits, theirs), strict=True):
        same(ours.classes, wanted["class_queries_logits"])
        same(ours.masks, wanted["masks_queries_logits"])
    parity("Mask2Former", "image", HUB, found[-1].masks, theirs.masks_queries_logits)


def test_every_parameter_is_accounted_for(saved):
    peer, spec = saved()
    model, info = load_with_info(spec)
    aside = info.card["conversion"]["set aside"]
    kept = [name for name, _ in peer.named_parameters() if name not in aside]
    assert (info.card["conversion"]["folded"], info.card["conversion"]["added"]) == (0, 0)
    assert sum(p.numel() for p in model.parameters()) == sum(peer.get_parameter(name).numel() for name in kept)
    assert {name for name in aside if "relative_position_index" not in name} == {
        "criterion.empty_weight",
        "model.pixel_level_module.encoder.swin.layernorm.weight",
        "model.pixel_level_module.encoder.swin.layernorm.bias",
    }


def test_pictures_keep_their_size_and_reach_the_stem_as_through_the_peers_own_processor(
    saved, tmp_path, photo, normalised
):
    _, spec = saved()
    settings = {"size": {"shortest_edge": 336, "longest_edge": 420}, "size_divisor": 4, "image_mean": [0.5, 0.4, 0.3]}
    processor = transformers.Mask2FormerImageProcessor(**settings)
    processor.save_pretrained(tmp_path)
    theirs = processor(photo, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(normalised(unimodal.load(spec).encoder), theirs)


def test_it_goes_through_a_checkpoint_of_the_suite(saved, tmp_path, pixels):
    model, info = load_with_info(saved()[1])
    save(model, tmp_path / "own", part=info.part, provenance=info.provenance)
    again, batch = unimodal.load(tmp_path / "own"), pixels(1, 64, 64)
    assert torch.equal(again(batch)[-1].masks, model(batch)[-1].masks)


@pytest.mark.parametrize(
    "settings, cause",
    [
        ({"pre_norm": True}, "pre_norm is True"),
        ({"common_stride": 8, "feature_strides": [4, 8, 16, 32]}, "common_stride is 8"),
        ({"feature_strides": [2, 4, 8, 16], "common_stride": 2}, "feature_strides is"),
        ({"stages": STAGES[1:]}, "out_features is"),
    ],
)
def test_settings_without_a_part_are_refused_by_name(saved, settings, cause):
    _, spec = saved(**settings)
    with pytest.raises(CheckpointError, match=cause):
        unimodal.load(spec)
