"""transformers' ConvNeXt and ConvNeXt V2, saved by ``save_pretrained``, computed by the one core."""

from typing import Any

import pytest
import torch

import unimodal
from unimodal.errors import CheckpointError
from unimodal.pretrained import load_with_info

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity
TINY = {"hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 2, 1], "num_labels": 7}
FIRST, SECOND = "facebook/convnext-tiny-224", "facebook/convnextv2-tiny-1k-224"
PEERS = {
    "model": ("ConvNextModel", {}, FIRST),
    "classifier": ("ConvNextForImageClassification", {"layer_norm_eps": 1e-3}, FIRST),
    "no layer scale": ("ConvNextModel", {"layer_scale_init_value": 0.0, "hidden_act": "silu"}, FIRST),
    "three stages, patches of 2 px": (
        "ConvNextModel",
        {"hidden_sizes": [16, 24, 32], "depths": [1, 2, 1], "num_stages": 3, "patch_size": 2},
        FIRST,
    ),
    "V2": ("ConvNextV2Model", {}, SECOND),
    "V2, classifier": ("ConvNextV2ForImageClassification", {}, SECOND),
}


@pytest.fixture
def saved(tmp_path, randomise):
    def saved(kind: str, **settings: Any) -> Any:
        config: Any = transformers.ConvNextV2Config if "V2" in kind else transformers.ConvNextConfig
        peer = randomise(getattr(transformers, kind)(config(**{**TINY, **settings})))
        peer.save_pretrained(tmp_path)
        return peer, f"transformers:{tmp_path}"

    return saved


@pytest.mark.parametrize("images, rows, columns", [(2, 224, 224), (3, 97, 130)])
@pytest.mark.parametrize("name", PEERS)
def test_features_and_outputs_are_the_peers(saved, pixels, same, parity, name, images, rows, columns):
    kind, settings, hub = PEERS[name]
    peer, spec = saved(kind, **settings)
    loaded: Any = load_with_info(spec)
    model, info = loaded
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in peer.parameters())
    assert info.card["conversion"]["set aside"] == {}
    batch = pixels(images, rows, columns)
    with torch.inference_mode():
        theirs = peer(batch.data, output_hidden_states=True)
        stages = len(peer.config.depths)
        for tokens, map_BDYX in zip(
            model.features(batch, range(1, stages + 1)), theirs.hidden_states[-stages:], strict=True
        ):
            assert tokens.side.grid == tuple(map_BDYX.shape[2:])
            same(tokens.x, map_BDYX.flatten(2).mT)
        wanted = theirs.logits if "Classification" in kind else theirs.pooler_output
        parity(
            "ConvNeXt V2" if "V2" in kind else "ConvNeXt", "image", f"transformers:{hub}", model.embed(batch), wanted
        )


@pytest.mark.parametrize("edge, size, fraction", [(224, 224, 0.875), (384, 384, 1.0)])
def test_pictures_reach_the_stem_as_through_the_peers_own_processor(
    saved, tmp_path, photo, normalised, edge, size, fraction
):
    _, spec = saved("ConvNextModel")
    processor = transformers.ConvNextImageProcessor(size={"shortest_edge": edge}, image_mean=[0.4, 0.5, 0.6])
    processor.save_pretrained(tmp_path)
    theirs = processor(photo, return_tensors="pt")["pixel_values"]
    model: Any = unimodal.load(spec)
    image, ours = model.tokenizers["image"], normalised(model)
    assert (image.size, image.crop_fraction) == ((size, size), fraction)
    assert ours.shape == theirs.shape
    # Ours cuts and resizes in one step: at the cut its filter sees nothing behind the edge.
    assert 255 * 0.5 * (ours - theirs).abs()[..., 4:-4, 4:-4].max() < 2


def test_without_a_processor_the_middle_of_a_picture_is_read_at_the_models_size(saved):
    _, spec = saved("ConvNextModel", image_size=64)
    image = unimodal.load(spec).tokenizers["image"]
    assert (image.size, image.fit, image.crop_fraction) == ((64, 64), "crop", 0.875)


@pytest.mark.parametrize(
    "settings, cause",
    [
        ({"hidden_act": "mish"}, "the activation is 'mish'"),
        ({"num_channels": 1}, "num_channels is 1"),
        ({"patch_size": (4, 4)}, "the patch is"),
    ],
)
def test_what_the_core_cannot_do_is_refused_by_name(saved, settings, cause):
    _, spec = saved("ConvNextModel", **settings)
    with pytest.raises(CheckpointError, match=cause):
        unimodal.load(spec)


def test_a_left_over_tensor_is_an_error_with_a_report(saved):
    _, spec = saved("ConvNextBackbone")
    with pytest.raises(CheckpointError, match=r"2 are missing, 2 are unexpected"):
        unimodal.load(spec)
