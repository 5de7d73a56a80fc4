"""One name loads one model: by library, from the hub's cache, from the package, or says what is wrong."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import unimodal
from unimodal.checkpoint import describe, load_checkpoint, save
from unimodal.errors import CheckpointError, MissingExtraError, UnknownNameError
from unimodal.pretrained import load_with_info
from unimodal.provenance import Provenance
from unimodal.recipes.vit import vit
from unimodal.sample import Batch

COMMIT = "0" * 40


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The hub's cache of a machine without network; returns where a repository's files lie."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))

    def hub(name: str) -> Path:
        repository = tmp_path / f"models--{name.replace('/', '--')}"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text(COMMIT)
        folder = repository / "snapshots" / COMMIT
        folder.mkdir(parents=True)
        return folder

    return hub


@pytest.fixture
def small():
    part = vit("tiny", patch=16, image=32)
    part = part.replace(transformer=part.kwargs["transformer"].replace(depth=1))
    return part, part().eval()


def test_a_checkpoint_folder_is_a_spec(small, tmp_path):
    part, model = small
    save(model, tmp_path, part=part, provenance=Provenance({"": "trained"}, "a test"))
    batch = Batch("image", torch.randn(3, 3, 32, 48))
    assert torch.equal(unimodal.load(tmp_path).embed(batch), model.embed(batch))
    assert torch.equal(unimodal.load(str(tmp_path)).embed(batch), model.embed(batch))


def test_a_random_part_needs_the_flag_here_too(small, tmp_path):
    part, model = small
    save(model, tmp_path, part=part, provenance=Provenance())
    with pytest.raises(CheckpointError, match="random, not trained: the whole model"):
        unimodal.load(tmp_path)
    unimodal.load(tmp_path, allow_random=True)


def test_a_tower_of_a_single_model_is_refused(small, tmp_path):
    part, model = small
    save(model, tmp_path, part=part, provenance=Provenance({"": "trained"}, "a test"))
    with pytest.raises(CheckpointError, match="this checkpoint holds one model"):
        unimodal.load(tmp_path, tower="image")


def test_an_unknown_name_of_the_package_is_refused():
    with pytest.raises(UnknownNameError, match="no weights in this package named 'absent'"):
        unimodal.load("unimodal:absent")


@pytest.mark.parity
def test_a_converted_model_says_so_and_survives_its_own_checkpoint(hub, tmp_path):
    timm = pytest.importorskip("timm")
    settings = {"embed_dim": 48, "depth": 2, "num_heads": 3, "img_size": 32, "patch_size": 8, "num_classes": 5}
    peer = timm.create_model("vit_tiny_patch16_224", **settings)
    timm.models.save_for_hf(peer, tmp_path / "t", model_args=settings, safe_serialization=True)
    model: Any
    model, info = load_with_info(f"timm:{tmp_path / 't'}")
    assert Provenance.of(model).statuses == {"": "converted"}
    assert {row["status"] for row in describe(model, info)["parts"]} == {"converted"}
    save(model, tmp_path / "ours", part=info.part, provenance=info.provenance, card=info.card)
    again, told = load_checkpoint(tmp_path / "ours")
    batch = Batch("image", torch.randn(3, 3, 40, 32))
    assert torch.equal(again.get_submodule("transformer")(model.tokenize(batch)).x, model(batch).x)
    assert told.card["conversion"]["folded"] == 48


@pytest.mark.parity
def test_a_name_of_timms_registry_loads_through_the_hub_cache(hub):
    timm = pytest.importorskip("timm")
    folder = hub("timm/vit_tiny_patch16_224.augreg_in21k")
    peer = timm.create_model("vit_tiny_patch16_224", num_classes=3).eval()
    timm.models.save_for_hf(peer, folder, model_args={"num_classes": 3}, safe_serialization=True)
    batch = Batch("image", torch.randn(1, 3, 224, 224))
    theirs = peer(batch.data)
    ours = unimodal.load("timm:vit_tiny_patch16_224.augreg_in21k").embed(batch)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5 * theirs.abs().max().item())


@pytest.mark.parity
def test_a_hub_id_of_open_clip_loads_through_the_hub_cache(hub):
    open_clip = pytest.importorskip("open_clip")
    from safetensors.torch import save_file

    folder = hub("owner/name")
    config = {
        "embed_dim": 20,
        "vision_cfg": {"layers": 2, "width": 48, "head_width": 16, "patch_size": 8, "image_size": 32},
        "text_cfg": {"layers": 2, "width": 36, "heads": 3, "vocab_size": 60, "context_length": 12},
    }
    peer = open_clip.CLIP(**config).eval()
    save_file(peer.state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    batch = Batch("image", torch.randn(3, 3, 32, 32))
    model = unimodal.load("open_clip:owner/name")
    theirs = peer.encode_image(batch.data)
    torch.testing.assert_close(model.embed(batch), theirs, rtol=0, atol=1e-5 * theirs.abs().max().item())
    assert model.tokenizers["image"].mean == open_clip.OPENAI_DATASET_MEAN


@pytest.mark.parity
def test_a_hub_id_of_transformers_loads_through_the_hub_cache(hub):
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=48, num_hidden_layers=1, num_attention_heads=3, intermediate_size=96, image_size=32, patch_size=8
    )
    transformers.ViTModel(config).save_pretrained(hub("owner/name"))
    assert unimodal.load("transformers:owner/name").dim == 48


@pytest.mark.parametrize(
    "spec, module, kind",
    [
        ("timm:vit_tiny_patch16_225", "timm", "weights in timm"),
        ("open_clip:ViT-B-32/laion", "open_clip", "pretrained weights of ViT-B-32 in open_clip"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(hub, spec, module, kind):
    pytest.importorskip(module)
    with pytest.raises(UnknownNameError, match=f"no {kind} named .*(did you mean|known)"):
        unimodal.load(spec)


@pytest.mark.parametrize(
    "spec, repository, file",
    [
        (
            "timm:vit_base_patch16_224.augreg_in21k",
            "timm/vit_base_patch16_224.augreg_in21k",
            "config.json",
        ),
        (
            "open_clip:ViT-B-16/laion2b_s34b_b88k",
            "laion/CLIP-ViT-B-16-laion2B-s34B-b88K",
            "open_clip_model.safetensors",
        ),
        (
            "open_clip:ViT-B-32/openai",
            "timm/vit_base_patch32_clip_224.openai",
            "open_clip_model.safetensors",
        ),
        ("transformers:openai/clip-vit-base-patch32", "openai/clip-vit-base-patch32", "config.json"),
    ],
)
def test_a_registered_name_leads_to_its_repository_and_without_network_the_file_is_named(hub, spec, repository, file):
    pytest.importorskip(spec.partition(":")[0])
    with pytest.raises(
        CheckpointError, match=f"{repository}: {file} is not in the local cache and the hub cannot be reached"
    ):
        unimodal.load(spec)


@pytest.mark.parametrize("library", ["timm", "transformers"])
def test_a_folder_with_pickled_weights_only_is_refused(tmp_path, library):
    pytest.importorskip(library)
    config = {"architecture": "vit_tiny_patch16_224", "model_type": "vit"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(CheckpointError, match=r"never opened: pytorch_model\.bin"):
        unimodal.load(f"{library}:{tmp_path}")


@pytest.mark.parametrize(
    "library, package", [("timm", "timm"), ("transformers", "transformers"), ("open_clip", "open_clip_torch")]
)
def test_a_library_that_is_not_installed_is_named_with_its_extra(monkeypatch, library, package):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=rf"{package} is not installed.*unimodal\[converters\]"):
        unimodal.load(f"{library}:x/y")
