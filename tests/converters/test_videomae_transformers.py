"""transformers' VideoMAE, saved by ``save_pretrained``, computed by the one core."""

from typing import Any

import pytest
import torch

import unimodal
from unimodal.conversion import Published
from unimodal.converters.videomae_transformers import videomae_transformers
from unimodal.errors import CheckpointError
from unimodal.pretrained import load_with_info
from unimodal.sample import Batch

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity
TINY = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 100}
TINY |= {"image_size": 32, "patch_size": 8, "num_frames": 6, "decoder_num_hidden_layers": 1}


@pytest.fixture
def saved(tmp_path, randomise):
    def saved(kind: str = "VideoMAEModel", **settings: Any) -> Any:
        peer = randomise(getattr(transformers, kind)(transformers.VideoMAEConfig(**{**TINY, **settings})))
        peer.save_pretrained(tmp_path)
        return peer, f"transformers:{tmp_path}"

    return saved


def clips(count: int, frames: int = 6, rows: int = 32, columns: int = 32) -> Batch:
    return Batch("video", torch.randn(count, 3, frames, rows, columns))


def theirs_of(batch: Batch) -> torch.Tensor:
    assert isinstance(batch.data, torch.Tensor)
    return batch.data.transpose(1, 2)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_mean_pooling": False, "hidden_act": "gelu_new"},
        {"qv_bias": False, "tubelet_size": 3},
        {"image_size": [16, 40], "num_frames": 4},
    ],
)
@pytest.mark.parametrize("count", [1, 3])
def test_tokens_are_the_peers(saved, parity, settings, count):
    peer, spec = saved(**settings)
    size = settings.get("image_size", (32, 32))
    batch = clips(count, settings.get("num_frames", 6), *size)
    model = unimodal.load(spec)
    with torch.inference_mode():
        ours, theirs = model(batch), peer(theirs_of(batch)).last_hidden_state
    parity("VideoMAE", "video", "transformers:MCG-NJU/videomae-base", ours.x, theirs)
    torch.testing.assert_close(model.embed(batch), theirs.mean(1), rtol=0, atol=1e-5 * theirs.abs().max().item())


def test_logits_of_the_classifier_are_the_peers(saved, same):
    peer, spec = saved("VideoMAEForVideoClassification", num_labels=7)
    batch = clips(3)
    same(unimodal.load(spec).embed(batch), peer(theirs_of(batch)).logits)


def test_what_pre_training_rebuilt_tubelets_with_is_set_aside(saved, same):
    peer, spec = saved("VideoMAEForPreTraining", use_mean_pooling=False)
    model, info = load_with_info(spec)
    batch = clips(3)
    same(model(batch).x, peer.videomae(theirs_of(batch)).last_hidden_state)
    aside = info.card["conversion"]["set aside"]
    assert {"mask_token", "encoder_to_decoder.weight", "decoder.head.bias"} <= set(aside)


def test_every_parameter_is_accounted_for(saved):
    peer, spec = saved("VideoMAEForVideoClassification", num_labels=7)
    model = unimodal.load(spec)
    made = 3 * 4 * 4 * 48 + 2 * 48  # the table of waves; zero biases of the keys
    assert sum(p.numel() for p in model.parameters()) - made == sum(p.numel() for p in peer.parameters())


def test_base_has_the_published_number_of_parameters():
    """87 M with 400 classes (Tong et al. 2022, arXiv:2203.12602, table 6)."""
    config = transformers.VideoMAEConfig(num_labels=400).to_dict()
    published = Published("transformers", "videomae", "base", config, {"classifier.weight": torch.empty(400, 0)})
    with torch.device("meta"):
        model = videomae_transformers(published).towers["video"].part()
    made = 8 * 14 * 14 * 768 + 12 * 768
    assert round((sum(p.numel() for p in model.parameters()) - made) / 1e6) == 87


@pytest.mark.parametrize("shape", [(8, 32, 32), (6, 16, 48)])
def test_clips_of_other_sizes_are_served_by_resampling_the_positions(saved, shape):
    _, spec = saved()
    tokens = unimodal.load(spec)(clips(2, *shape))
    assert tokens.side.grid == (shape[0] // 2, shape[1] // 8, shape[2] // 8)
    assert bool(tokens.x.isfinite().all())


@pytest.mark.parametrize("mean", [(0.485, 0.456, 0.406), (0.5, 0.5, 0.5)])
def test_frames_reach_the_stem_as_through_the_peers_own_processor(saved, tmp_path, photo, mean):
    _, spec = saved()
    processor = transformers.VideoMAEImageProcessor(
        size={"shortest_edge": 256}, crop_size={"height": 224, "width": 224}, image_mean=mean
    )
    processor.save_pretrained(tmp_path)
    frames = [photo.rotate(angle) for angle in (0, 180, 0, 180, 0, 180)]
    theirs = processor([frames], return_tensors="pt")["pixel_values"][0]
    video = unimodal.load(spec).tokenizers["video"]
    pixels = video.read(frames).data.float() / 255
    std = torch.tensor(video.std).view(3, 1, 1, 1)
    ours = ((pixels - torch.tensor(video.mean).view(3, 1, 1, 1)) / std).transpose(0, 1)
    assert ours.shape == theirs.shape
    # Ours cuts and resizes in one step: at the cut its filter sees nothing behind the edge.
    inner = (ours - theirs).abs()[..., 3:-3, 3:-3]
    assert 255 * max(video.std) * inner.max() < 1.01


def test_without_a_processor_the_familys_defaults_apply_at_the_models_size(saved):
    _, spec = saved()
    video = unimodal.load(spec).tokenizers["video"]
    assert (video.size, video.fit, video.frames, video.resample.name) == ((32, 32), "crop", 6, "BILINEAR")
    assert (video.mean, video.crop_fraction) == ((0.5, 0.5, 0.5), 1.0)


def test_a_classifier_on_the_first_token_is_refused(saved):
    _, spec = saved("VideoMAEForVideoClassification", use_mean_pooling=False)
    with pytest.raises(CheckpointError, match="use_mean_pooling is False"):
        unimodal.load(spec)
