"""transformers' PVTv2, saved by ``save_pretrained``, computed by the one core."""

from typing import Any

import pytest
import torch

import unimodal
from unimodal.errors import CheckpointError
from unimodal.pretrained import load_with_info

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity
HUB = "transformers:OpenGVLab/pvt_v2_b0"
TINY = {"hidden_sizes": [8, 12, 20, 16], "depths": [1, 2, 1, 1], "num_attention_heads": [1, 2, 5, 4]}
TINY |= {"mlp_ratios": [2, 3, 2, 2], "num_labels": 7}


@pytest.fixture
def saved(tmp_path, randomise):
    def saved(kind: str = "PvtV2ForImageClassification", **settings: Any) -> Any:
        peer = randomise(getattr(transformers, kind)(transformers.PvtV2Config(**{**TINY, **settings})))
        peer.save_pretrained(tmp_path)
        return peer, f"transformers:{tmp_path}"

    return saved


@pytest.mark.parametrize("images, rows, columns", [(2, 96, 96), (3, 97, 131)])
@pytest.mark.parametrize(
    "kind, settings",
    [
        ("PvtV2ForImageClassification", {}),
        ("PvtV2ForImageClassification", {"linear_attention": True}),
        ("PvtV2Model", {"qkv_bias": False, "hidden_act": "relu", "layer_norm_eps": 1e-3}),
        ("PvtV2Backbone", {"sr_ratios": [4, 4, 1, 1]}),
    ],
)
def test_features_and_outputs_are_the_peers(saved, pixels, same, parity, kind, settings, images, rows, columns):
    peer, spec = saved(kind, **settings)
    loaded: Any = load_with_info(spec)
    model, info = loaded
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in peer.parameters())
    assert info.card["conversion"]["set aside"] == {}
    batch = pixels(images, rows, columns)
    with torch.inference_mode():
        theirs = peer(batch.data, output_hidden_states=True)
        for ours, map_BDYX in zip(model.features(batch, [1, 2, 3, 4]), theirs.hidden_states, strict=True):
            assert ours.side.grid == tuple(map_BDYX.shape[2:])
            same(ours.x, map_BDYX.flatten(2).mT)
        wanted = theirs.logits if "Class" in kind else theirs.hidden_states[-1].mean((2, 3))
        parity("PVTv2", "image", HUB, model.embed(batch), wanted)


def test_pictures_reach_the_stem_as_through_the_peers_own_processor(saved, tmp_path, photo, normalised):
    _, spec = saved()
    transformers.PvtImageProcessor(size={"height": 192, "width": 224}).save_pretrained(tmp_path)
    theirs = transformers.PvtImageProcessor.from_pretrained(tmp_path)(photo, return_tensors="pt")["pixel_values"]
    ours = normalised(unimodal.load(spec))
    assert ours.shape == theirs.shape
    assert 255 * 0.5 * (ours - theirs).abs().max() < 2


@pytest.mark.parametrize("setting, value", [("patch_sizes", [7, 3, 3, 5]), ("strides", [4, 2, 2, 1])])
def test_other_embeddings_are_refused_by_name(saved, setting, value):
    _, spec = saved(**{setting: value})
    with pytest.raises(CheckpointError, match=f"{setting} is"):
        unimodal.load(spec)
