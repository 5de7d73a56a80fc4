"""transformers' CvT, saved by ``save_pretrained``, computed by the one core."""

from typing import Any

import pytest
import torch

import unimodal
from unimodal.errors import CheckpointError
from unimodal.pretrained import load_with_info
from unimodal.recipes.cvt import cvt
from unimodal.reparameterize import reparameterize

transformers = pytest.importorskip("transformers")
pytestmark = pytest.mark.parity
HUB = "transformers:microsoft/cvt-13"
# The peer takes a stage's rate of stochastic depth by the stage's number, so stage i needs more than i blocks.
TINY = {"embed_dim": [8, 12, 24], "num_heads": [1, 3, 6], "depth": [1, 2, 3], "num_labels": 7}


@pytest.fixture
def saved(tmp_path, randomise):
    def saved(kind: str = "CvtForImageClassification", **settings: Any) -> Any:
        peer = randomise(getattr(transformers, kind)(transformers.CvtConfig(**{**TINY, **settings})))
        peer.save_pretrained(tmp_path)
        return peer, f"transformers:{tmp_path}"

    return saved


@pytest.mark.parametrize("images, rows, columns", [(2, 64, 64), (3, 97, 131), (1, 32, 80)])
@pytest.mark.parametrize(
    "kind, settings",
    [
        ("CvtForImageClassification", {}),
        ("CvtForImageClassification", {"stride_kv": [1, 1, 1], "qkv_bias": [False] * 3, "mlp_ratio": [2.0] * 3}),
        ("CvtModel", {}),
    ],
)
def test_features_and_outputs_are_the_peers(saved, pixels, same, kind, settings, images, rows, columns):
    peer, spec = saved(kind, **settings)
    model, batch = unimodal.load(spec), pixels(images, rows, columns)
    with torch.inference_mode():
        theirs = peer(batch.data, output_hidden_states=True)
        for ours, map_BDYX in zip(model.features(batch, [1, 2, 3]), theirs.hidden_states, strict=True):
            assert ours.side.grid == tuple(map_BDYX.shape[2:])
            same(ours.lattice().x, map_BDYX.flatten(2).mT)
        wanted = theirs.logits if "Class" in kind else theirs.cls_token_value[:, 0]
        deployed: Any = reparameterize(model)
        same(model.embed(batch), wanted)
        same(deployed.embed(batch), wanted)


def test_the_published_size_is_the_peers_with_its_gradients(saved, pixels, parity):
    """A batch of two: the peer's gradients of one picture are not those of finite differences (batch norm in torch)."""
    peer, spec = saved(**{**transformers.CvtConfig().to_dict(), "num_labels": 1000})
    torch.manual_seed(0)
    for parameter in peer.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.05)
    peer.save_pretrained(spec.removeprefix("transformers:"))
    loaded: Any = load_with_info(spec)
    model, info = loaded
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in peer.parameters())
    assert all(name.endswith("num_batches_tracked") for name in info.card["conversion"]["set aside"])
    recipe = cvt(classes=1000).to_json()["with"]
    assert {**info.part.to_json()["with"], "tokenizers": 0} == {**recipe, "tokenizers": 0}
    batch = pixels(1, 256, 256)
    with torch.inference_mode():
        parity("CvT", "image", HUB, model.embed(batch), peer(batch.data).logits)
    batch = pixels(2, 224, 224)
    found, wanted = model.embed(batch), peer(batch.data).logits
    parity("CvT", "image", HUB, found.detach(), wanted.detach())
    found.square().sum().backward()
    wanted.square().sum().backward()
    mine = model.transformer.stages[2].core.blocks[0].mixer
    theirs = peer.cvt.encoder.stages[2].layers[0].attention.attention
    for a, b in (
        (mine.around_q.parts[0], theirs.convolution_projection_query.convolution_projection.convolution),
        (mine.around_v.behind, theirs.convolution_projection_value.convolution_projection.normalization),
        (mine.to_k, theirs.projection_key),
    ):
        torch.testing.assert_close(a.weight.grad, b.weight.grad, rtol=0, atol=1e-4 * b.weight.grad.abs().max().item())


@pytest.mark.parametrize("edge, fraction", [(224, 0.875), (384, 1.0)])
def test_pictures_reach_the_stem_as_the_peers_processor_says(saved, tmp_path, edge, fraction):
    _, spec = saved()
    transformers.ConvNextImageProcessor(size={"shortest_edge": edge}).save_pretrained(tmp_path)
    model: Any = unimodal.load(spec)
    image = model.tokenizers["image"]
    assert (image.size, image.crop_fraction) == ((edge, edge), fraction)


@pytest.mark.parametrize(
    "setting, value",
    [
        ("cls_token", [False, True, True]),
        ("patch_padding", [3, 1, 1]),
        ("qkv_projection_method", ["avg"] * 3),
        ("stride_kv", [2, 2, 1]),
    ],
)
def test_other_settings_are_refused_by_name(saved, tmp_path, setting, value):
    _, spec = saved()
    config = transformers.CvtConfig(**{**TINY, setting: value})
    config.save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=f"{setting} is"):
        unimodal.load(spec)
