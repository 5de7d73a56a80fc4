"""transformers' ViViT, saved by ``save_pretrained``, computed by the one core."""

from typing import Any

import pytest
import torch

import unimodal
from unimodal.errors import CheckpointError
from unimodal.pretrained import load_with_info
from unimodal.sample import Batch

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity
TINY = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 100}
TINY |= {"image_size": 32, "tubelet_size": [2, 8, 8], "num_frames": 6}


@pytest.fixture
def saved(tmp_path, randomise):
    def saved(kind: str = "VivitModel", **settings: Any) -> Any:
        peer = randomise(getattr(transformers, kind)(transformers.VivitConfig(**{**TINY, **settings})))
        peer.save_pretrained(tmp_path)
        return peer, f"transformers:{tmp_path}"

    return saved


def clips(count: int, frames: int = 6) -> Batch:
    return Batch("video", torch.randn(count, 3, frames, 32, 32))


def theirs_of(batch: Batch) -> torch.Tensor:
    assert isinstance(batch.data, torch.Tensor)
    return batch.data.transpose(1, 2)


@pytest.mark.parametrize(
    "settings", [{}, {"qkv_bias": False, "hidden_act": "gelu"}, {"tubelet_size": [3, 16, 16], "pooler_output_size": 20}]
)
@pytest.mark.parametrize("count", [1, 3])
def test_tokens_and_pooler_are_the_peers(saved, parity, same, settings, count):
    peer, spec = saved(**settings)
    model, batch = unimodal.load(spec), clips(count)
    with torch.inference_mode():
        theirs = peer(theirs_of(batch))
        parity("ViViT", "video", "transformers:google/vivit-b-16x2-kinetics400", model(batch).x, theirs[0])
        same(model.embed(batch), theirs.pooler_output)


def test_logits_of_the_classifier_are_the_peers(saved, same):
    peer, spec = saved("VivitForVideoClassification", num_labels=7)
    batch = clips(3)
    same(unimodal.load(spec).embed(batch), peer(theirs_of(batch)).logits)


def test_every_parameter_is_accounted_for(saved):
    peer, spec = saved("VivitForVideoClassification", num_labels=7)
    model, info = load_with_info(spec)
    assert info.card["conversion"]["folded"] == 48
    assert sum(p.numel() for p in model.parameters()) + 48 == sum(p.numel() for p in peer.parameters())


@pytest.mark.parametrize("offset", [True, False])
@pytest.mark.parametrize("normal", [True, False])
def test_frames_reach_the_stem_as_through_the_peers_own_processor(saved, tmp_path, photo, offset, normal):
    _, spec = saved()
    processor = transformers.VivitImageProcessor(
        offset=offset, rescale_factor=1 / 127.5 if offset else 1 / 255, do_normalize=normal, image_mean=[0.4, 0.5, 0.6]
    )
    processor.save_pretrained(tmp_path)
    frames = [photo.rotate(angle) for angle in (0, 180, 0, 180, 0, 180)]
    theirs = processor(frames, return_tensors="pt")["pixel_values"][0]
    video = unimodal.load(spec).tokenizers["video"]
    pixels = video.read(frames).data.float() / 255
    std = torch.tensor(video.std).view(3, 1, 1, 1)
    ours = ((pixels - torch.tensor(video.mean).view(3, 1, 1, 1)) / std).transpose(0, 1)
    assert ours.shape == theirs.shape == (6, 3, 224, 224)
    # Ours cuts and resizes in one step: at the cut its filter sees nothing behind the edge.
    inner = (ours - theirs).abs()[..., 3:-3, 3:-3]
    assert 255 * max(video.std) * inner.max() < 1.01


def test_without_a_processor_the_familys_defaults_apply_at_the_models_size(saved):
    _, spec = saved()
    video = unimodal.load(spec).tokenizers["video"]
    assert (video.size, video.fit, video.frames, video.crop_fraction) == ((32, 32), "crop", 6, 0.875)
    assert video.mean == pytest.approx((0.75, 0.75, 0.75))  # pixels / 127.5 - 1, then minus 0.5, over 0.5
    assert video.std == pytest.approx((0.25, 0.25, 0.25))


def test_an_activation_that_the_core_does_not_have_is_refused_by_name(saved):
    _, spec = saved(hidden_act="mish")
    with pytest.raises(CheckpointError, match="the activation is 'mish'"):
        unimodal.load(spec)
