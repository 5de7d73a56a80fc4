"""transformers' TimeSformer, saved by ``save_pretrained``, computed by the one core."""

from typing import Any

import pytest
import torch

import unimodal
from unimodal.errors import CheckpointError
from unimodal.sample import Batch

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity
TINY = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 100}
TINY |= {"image_size": 32, "patch_size": 8, "num_frames": 5}


@pytest.fixture
def saved(tmp_path, randomise):
    def saved(kind: str = "TimesformerModel", **settings: Any) -> Any:
        peer = randomise(getattr(transformers, kind)(transformers.TimesformerConfig(**{**TINY, **settings})))
        peer.save_pretrained(tmp_path)
        return peer, f"transformers:{tmp_path}"

    return saved


def clips(count: int, frames: int = 5) -> Batch:
    return Batch("video", torch.randn(count, 3, frames, 32, 32))


def theirs_of(batch: Batch) -> torch.Tensor:
    assert isinstance(batch.data, torch.Tensor)
    return batch.data.transpose(1, 2)


def by_time(x: torch.Tensor, frames: int) -> torch.Tensor:
    """The peer keeps a place's frames together, we a frame's places."""
    lattice = x[:, 1:].unflatten(1, (-1, frames)).transpose(1, 2).flatten(1, 2)
    return torch.cat([x[:, :1], lattice], 1)


@pytest.mark.parametrize(
    "settings",
    [{}, {"qkv_bias": False, "hidden_act": "gelu_new"}, {"attention_type": "joint_space_time"}, {"num_frames": 1}],
)
@pytest.mark.parametrize("count", [1, 3])
def test_tokens_are_the_peers(saved, parity, same, settings, count):
    peer, spec = saved(**settings)
    frames = settings.get("num_frames", 5)
    model, batch = unimodal.load(spec), clips(count, frames)
    with torch.inference_mode():
        theirs = by_time(peer(theirs_of(batch)).last_hidden_state, frames)
        ours = model(batch)
        parity("TimeSformer", "video", "transformers:facebook/timesformer-base-finetuned-k400", ours.x, theirs)
        same(model.embed(batch), theirs[:, 0])


def test_logits_of_the_classifier_are_the_peers(saved, same):
    peer, spec = saved("TimesformerForVideoClassification", num_labels=7)
    batch = clips(3)
    same(unimodal.load(spec).embed(batch), peer(theirs_of(batch)).logits)


def test_every_parameter_is_accounted_for(saved):
    peer, spec = saved("TimesformerForVideoClassification", num_labels=7)
    model = unimodal.load(spec)
    folded = 48 + (4 * 4 + 5) * 48 + 2 * (48 * 48 + 48)  # class row, two tables, the second map over time
    made = 5 * 4 * 4 * 48  # one table of sums
    assert sum(p.numel() for p in model.parameters()) + folded - made == sum(p.numel() for p in peer.parameters())


def test_without_a_processor_the_familys_defaults_apply_at_the_models_size(saved):
    _, spec = saved()
    video = unimodal.load(spec).tokenizers["video"]
    assert (video.size, video.fit, video.frames) == ((32, 32), "crop", 5)
    assert (video.mean, video.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert video.read([torch.zeros(40, 50, 3, dtype=torch.uint8).numpy()] * 9).cost == 80


def test_frames_reach_the_stem_as_through_the_published_processor(saved, tmp_path, photo):
    _, spec = saved()
    processor = transformers.VideoMAEImageProcessor(image_mean=[0.45] * 3, image_std=[0.225] * 3)
    processor.save_pretrained(tmp_path)
    frames = [photo.rotate(angle) for angle in (0, 180, 0, 180, 0)]
    theirs = processor([frames], return_tensors="pt")["pixel_values"][0]
    video = unimodal.load(spec).tokenizers["video"]
    ours = ((video.read(frames).data.float() / 255 - 0.45) / 0.225).transpose(0, 1)
    # Ours cuts and resizes in one step: at the cut its filter sees nothing behind the edge.
    inner = (ours - theirs).abs()[..., 3:-3, 3:-3]
    assert ours.shape == theirs.shape
    assert 255 * 0.225 * inner.max() < 1.01


def test_attention_over_space_only_is_refused_by_name(saved):
    _, spec = saved(attention_type="space_only")
    with pytest.raises(CheckpointError, match="attention_type is 'space_only'"):
        unimodal.load(spec)
