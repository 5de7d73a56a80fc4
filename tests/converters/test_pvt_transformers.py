"""transformers' PVT, saved by ``save_pretrained``, computed by the one core, at the size that it reads."""

from typing import Any

import pytest
import torch

import unimodal
from unimodal.errors import CheckpointError
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.pretrained import load_with_info
from unimodal.recipes.pvt import pvt

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity
HUB = "transformers:Zetatech/pvt-tiny-224"
TINY = {"hidden_sizes": [8, 12, 20, 16], "depths": [1, 2, 1, 1], "num_attention_heads": [1, 2, 5, 4]}
TINY |= {"mlp_ratios": [2, 3, 2, 2], "image_size": 64, "num_labels": 7}


@pytest.fixture
def saved(tmp_path, randomise):
    def saved(kind: str = "PvtForImageClassification", **settings: Any) -> Any:
        peer = randomise(getattr(transformers, kind)(transformers.PvtConfig(**{**TINY, **settings})))
        peer.save_pretrained(tmp_path)
        return peer, f"transformers:{tmp_path}"

    return saved


def hidden(output: Any, depths: list[int]) -> list[torch.Tensor]:
    """Behind each stage's last block, the last one normed."""
    return [output.hidden_states[sum(depths[: i + 1]) - 1] for i in range(3)] + [output.hidden_states[-1]]


@pytest.mark.parametrize(
    "kind, settings",
    [
        ("PvtForImageClassification", {}),
        ("PvtForImageClassification", {"qkv_bias": False, "hidden_act": "relu", "layer_norm_eps": 1e-3}),
        ("PvtForImageClassification", {"sequence_reduction_ratios": [4, 4, 1, 1], "image_size": 96}),
        ("PvtModel", {}),
    ],
)
def test_features_and_outputs_are_the_peers(saved, pixels, same, kind, settings):
    peer, spec = saved(kind, **settings)
    model, batch = unimodal.load(spec), pixels(3, peer.config.image_size, peer.config.image_size)
    with torch.inference_mode():
        theirs = peer(batch.data, output_hidden_states=True)
        for ours, wanted in zip(model.features(batch, [1, 2, 3, 4]), hidden(theirs, peer.config.depths), strict=True):
            same(ours.x, wanted)
        same(model.embed(batch), theirs.logits if "Class" in kind else theirs.last_hidden_state[:, 0])


def test_the_published_size_is_the_peers_with_its_gradients(saved, pixels, parity):
    torch.manual_seed(0)
    peer = transformers.PvtForImageClassification(transformers.PvtConfig()).eval()
    for parameter in peer.parameters():  # no norm or bias is left at one or zero
        parameter.data += 0.02 * torch.randn_like(parameter)
    _, spec = saved()
    peer.save_pretrained(spec.removeprefix("transformers:"))
    loaded: Any = load_with_info(spec)
    model, info = loaded
    assert info.card["conversion"]["folded"] == 512
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in peer.parameters()) - 512
    recipe = pvt(classes=1000, norm=Part(LayerNorm, eps=1e-6), reduced_norm=Part(LayerNorm, eps=1e-6))
    assert {**info.part.to_json()["with"], "tokenizers": 0} == {**recipe.to_json()["with"], "tokenizers": 0}
    batch = pixels(1, 224, 224)
    found, wanted = model.embed(batch), peer(batch.data).logits
    parity("PVT", "image", HUB, found.detach(), wanted.detach())
    found.square().sum().backward()
    wanted.square().sum().backward()
    stage, theirs = model.transformer.stages[0], peer.pvt.encoder
    for a, b in (
        (stage.position.table.grad, theirs.patch_embeddings[0].position_embeddings.grad[0]),
        (model.transformer.stages[3].prefix.tokens.grad, theirs.patch_embeddings[3].cls_token.grad[0]),
        (
            stage.core.blocks[0].mixer.reduce.convolution.weight.grad,
            theirs.block[0][0].attention.self.sequence_reduction.weight.grad,
        ),
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-4 * b.abs().max().item())


@pytest.mark.parametrize("rows, columns", [(96, 64), (97, 131)])
def test_another_size_is_the_peer_of_that_size_with_resampled_positions(saved, pixels, same, rows, columns):
    """The peer itself reads squares of its own size alone, so its embeddings are given resampled tables."""
    peer, spec = saved()
    model, batch = unimodal.load(spec), pixels(2, rows, columns)
    for i, embedding in enumerate(peer.pvt.encoder.patch_embeddings):
        grid, own, to = 16 // 2**i, int(i == 3), (rows // 4 // 2**i, columns // 4 // 2**i)
        table = embedding.position_embeddings.data[0]
        map_1DYX = table[own:].T.unflatten(1, (grid, grid))[None]
        other = torch.nn.functional.interpolate(map_1DYX, size=to, mode="bilinear")
        embedding.position_embeddings.data = torch.cat([table[:own], other[0].flatten(1).T])[None]
    with torch.inference_mode():
        same(model.embed(batch), peer(batch.data).logits)


def test_pictures_reach_the_stem_as_through_the_peers_own_processor(saved, tmp_path, photo, normalised):
    _, spec = saved()
    transformers.PvtImageProcessor(image_mean=[0.4, 0.5, 0.6]).save_pretrained(tmp_path)
    theirs = transformers.PvtImageProcessor.from_pretrained(tmp_path)(photo, return_tensors="pt")["pixel_values"]
    ours = normalised(unimodal.load(spec))
    assert ours.shape == theirs.shape
    assert 255 * 0.5 * (ours - theirs).abs().max() < 2


def test_embeddings_that_overlap_are_refused_by_name(saved):
    _, spec = saved(strides=[4, 3, 2, 2])
    with pytest.raises(CheckpointError, match=r"strides is \[4, 3, 2, 2\]"):
        unimodal.load(spec)
