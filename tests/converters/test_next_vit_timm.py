"""timm's Next-ViT, saved by timm's own export, computed by the one core, and folded beside timm's own folding."""

from typing import Any

import pytest
import torch

import unimodal
from unimodal.errors import CheckpointError
from unimodal.norms.batch import BatchNorm
from unimodal.pretrained import load_with_info
from unimodal.recipes.next_vit import next_vit
from unimodal.reparameterize import reparameterize

timm = pytest.importorskip("timm")
pytestmark = pytest.mark.parity
SHALLOW = {"depths": (1, 2, 5, 2)}


@pytest.fixture
def saved(tmp_path, randomise):
    def saved(architecture: str = "nextvit_small", **settings: Any) -> Any:
        peer = randomise(timm.create_model(architecture, **settings))
        for tensor in peer.parameters():
            if tensor.ndim > 1:
                torch.nn.init.normal_(tensor, std=0.5 * tensor[0].numel() ** -0.5)
        timm.models.save_for_hf(peer, tmp_path, model_args=settings, safe_serialization=True)
        return peer, f"timm:{tmp_path}"

    return saved


@pytest.mark.parametrize("rows, columns", [(224, 224), (97, 131)])
@pytest.mark.parametrize("classes", [7, 0])
def test_features_and_outputs_are_the_peers(saved, pixels, same, parity, rows, columns, classes):
    peer, spec = saved(**SHALLOW, num_classes=classes)
    model, batch = unimodal.load(spec), pixels(2, rows, columns)
    with torch.inference_mode():
        theirs = peer.forward_intermediates(batch.data, intermediates_only=True)
        for ours, map_BDYX in zip(model.features(batch, [1, 2, 3, 4]), theirs, strict=True):
            assert ours.side.grid == tuple(map_BDYX.shape[2:])
            same(ours.x, map_BDYX.flatten(2).mT)
        parity("Next-ViT", "image", "timm:nextvit_small.bd_in1k", model.embed(batch), peer(batch.data))


def test_a_published_size_is_the_peers_and_so_is_its_form_for_use(saved, pixels, parity, same):
    peer, spec = saved()
    loaded, info = load_with_info(spec)
    model: Any = loaded
    assert sum(p.numel() for p in model.parameters()) == sum(p.numel() for p in peer.parameters())
    assert set(info.card["conversion"]["set aside"].values()) == {"how many batches a norm has seen"}
    with torch.device("meta"):
        wanted = next_vit("small", classes=1000)().state_dict()
    assert {name: t.shape for name, t in model.state_dict().items()} == {name: t.shape for name, t in wanted.items()}
    batch = pixels(1, 160, 96)
    made: Any = reparameterize(model)
    with torch.inference_mode():
        before = peer(batch.data)
        parity("Next-ViT", "image", "timm:nextvit_small.bd_in1k", model.embed(batch), before)
        same(made.embed(batch), before)
        for module in list(peer.modules()):
            if hasattr(module, "reparameterize"):
                module.reparameterize()
        same(made.embed(batch), peer(batch.data))
    assert [name for name, m in made.named_modules() if isinstance(m, BatchNorm)] == ["readout.chain.parts.0"]


@pytest.mark.parametrize(
    "settings, cause",
    [
        ({"head_dim": 16}, "head_dim is 16"),
        ({"mix_block_ratio": 0.5}, "mix_block_ratio is 0.5"),
        ({"act_layer": "mish"}, "the activation is 'Mish'"),
        ({"global_pool": "max"}, "pooling is 'max'"),
    ],
)
def test_what_the_core_cannot_do_is_refused_by_name(saved, settings, cause):
    _, spec = saved(**SHALLOW, **settings)
    with pytest.raises(CheckpointError, match=cause):
        unimodal.load(spec)
