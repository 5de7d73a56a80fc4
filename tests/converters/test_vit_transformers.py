"""transformers' ViT, saved by ``save_pretrained``, computed by the one core."""

from typing import Any

import pytest
import torch

import unimodal
from unimodal.errors import CheckpointError
from unimodal.pretrained import load_with_info

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity
TINY = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 100}
TINY |= {"image_size": 32, "patch_size": 8}


@pytest.fixture
def saved(tmp_path, randomise):
    def saved(kind: str = "ViTModel", save: dict[str, Any] | None = None, **settings: Any) -> Any:
        peer = randomise(getattr(transformers, kind)(transformers.ViTConfig(**{**TINY, **settings})))
        peer.save_pretrained(tmp_path, **(save or {}))
        return peer, f"transformers:{tmp_path}"

    return saved


@pytest.mark.parametrize("settings", [{}, {"hidden_act": "gelu_pytorch_tanh", "qkv_bias": False}])
@pytest.mark.parametrize("images, rows, columns", [(3, 32, 32), (5, 40, 24), (1, 16, 64)])
def test_tokens_and_pooler_are_the_peers(saved, pixels, same, parity, settings, images, rows, columns):
    peer, spec = saved(**settings)
    model = unimodal.load(spec)
    batch = pixels(images, rows, columns)
    with torch.inference_mode():
        theirs = peer(batch.data, interpolate_pos_encoding=True)
        same(model(batch).x, theirs.last_hidden_state)
        parity(
            "ViT", "image", "transformers:google/vit-base-patch16-224-in21k", model.embed(batch), theirs.pooler_output
        )


def test_logits_of_the_classifier_are_the_peers(saved, pixels, same):
    peer, spec = saved("ViTForImageClassification", num_labels=7)
    batch = pixels(3, 32, 32)
    same(unimodal.load(spec).embed(batch), peer(batch.data).logits)


def test_every_parameter_is_accounted_for(saved):
    peer, spec = saved("ViTForImageClassification", num_labels=7)
    model, info = load_with_info(spec)
    assert info.card["conversion"]["folded"] == 48
    assert sum(p.numel() for p in model.parameters()) + 48 == sum(p.numel() for p in peer.parameters())


def test_weights_in_shards_are_put_together(saved, tmp_path, pixels, same):
    peer, spec = saved(save={"max_shard_size": "60KB"})
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    batch = pixels(3, 32, 32)
    same(unimodal.load(spec)(batch).x, peer(batch.data).last_hidden_state)


def test_a_missing_shard_is_named(saved, tmp_path):
    _, spec = saved(save={"max_shard_size": "60KB"})
    sorted(tmp_path.glob("*.safetensors"))[0].unlink()
    with pytest.raises(CheckpointError, match="has no model-00001"):
        unimodal.load(spec)


def test_pictures_reach_the_stem_as_through_the_peers_own_processor(saved, tmp_path, photo, normalised):
    _, spec = saved()
    processor = transformers.ViTImageProcessor(size={"height": 48, "width": 40}, image_mean=[0.4, 0.5, 0.6])
    processor.save_pretrained(tmp_path)
    theirs = processor(photo, return_tensors="pt")["pixel_values"]
    ours = normalised(unimodal.load(spec))
    assert ours.shape == theirs.shape
    assert 255 * 0.5 * (ours - theirs).abs().max() < 1.01


def test_without_a_processor_the_familys_defaults_apply_at_the_models_size(saved):
    _, spec = saved()
    image = unimodal.load(spec).tokenizers["image"]
    assert (image.size, image.fit, image.resample.name) == ((32, 32), "resize", "BILINEAR")


def test_a_left_over_tensor_is_an_error_with_a_report(saved):
    _, spec = saved("ViTForMaskedImageModeling", encoder_stride=8)
    with pytest.raises(CheckpointError, match=r"0 are missing, 2 are unexpected[\s\S]*decoder\.0\.weight"):
        unimodal.load(spec)


def test_an_activation_that_the_core_does_not_have_is_refused_by_name(saved):
    _, spec = saved(hidden_act="mish")
    with pytest.raises(CheckpointError, match="the activation is 'mish'"):
        unimodal.load(spec)
