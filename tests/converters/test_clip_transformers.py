"""transformers' CLIP towers, saved by ``save_pretrained``, computed by the one core."""

from typing import Any

import pytest
import torch

import unimodal
from unimodal.errors import UnknownNameError
from unimodal.pretrained import load_with_info

transformers = pytest.importorskip("transformers")
pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
TINY = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 100}
IMAGE = {**TINY, "image_size": 32, "patch_size": 8}
TEXT = {**TINY, "hidden_size": 36, "vocab_size": 60, "max_position_embeddings": 12}
TEXT |= {"eos_token_id": 59, "bos_token_id": 58, "pad_token_id": 0}
TEXTS = [[58, 3, 4, 5, 59], [58, 59], [58, *range(1, 11), 59]]


@pytest.fixture
def saved(tmp_path, randomise):
    def saved(**settings: Any) -> Any:
        config = transformers.CLIPConfig(text_config=TEXT, vision_config=IMAGE, projection_dim=20, **settings)
        peer = randomise(transformers.CLIPModel(config))
        peer.save_pretrained(tmp_path)
        return peer, f"transformers:{tmp_path}"

    return saved


def filled(texts: list[list[int]]) -> torch.Tensor:
    return torch.tensor([ids + [0] * (12 - len(ids)) for ids in texts])


@pytest.mark.parametrize("images, rows, columns", [(3, 32, 32), (5, 40, 24)])
def test_the_image_tower_is_the_peers(saved, pixels, same, parity, images, rows, columns):
    peer, spec = saved()
    model = unimodal.load(spec)
    batch = pixels(images, rows, columns)
    with torch.inference_mode():
        theirs = peer.vision_model(batch.data, interpolate_pos_encoding=True)
        same(model(batch).x, peer.vision_model.post_layernorm(theirs.last_hidden_state))
        projected = peer.visual_projection(theirs.pooler_output)
        parity("CLIP", "image", "transformers:openai/clip-vit-base-patch16", model.embed(batch), projected)


def test_the_text_tower_is_the_peers_without_computing_the_filling(saved, same, parity):
    peer, spec = saved()
    model = unimodal.load(spec, tower="text")
    text = model.tokenizers["text"]
    batch = text.collate([text.read(ids) for ids in TEXTS[:2]])
    assert batch.data.shape == (2, 5)
    with torch.inference_mode():
        theirs = peer.text_model(filled(TEXTS[:2]))
        ours = model(batch)
        for row, ids, their in zip(ours.x, TEXTS, theirs.last_hidden_state, strict=False):
            same(row[: len(ids)], their[: len(ids)])
        projected = peer.text_projection(theirs.pooler_output)
        parity("CLIP", "text", "transformers:openai/clip-vit-base-patch16", model.embed(batch), projected)


def test_a_text_as_long_as_the_context_is_the_peers(saved, same):
    peer, spec = saved()
    model = unimodal.load(spec, tower="text")
    text = model.tokenizers["text"]
    batch = text.collate([text.read(ids) for ids in TEXTS])
    theirs = peer.text_projection(peer.text_model(filled(TEXTS)).pooler_output)
    same(model.embed(batch), theirs)


def test_every_parameter_of_both_towers_is_accounted_for(saved):
    peer, spec = saved()
    _, info = load_with_info(spec)
    account = info.card["conversion"]
    assert account["folded"] == 48
    assert list(account["set aside"]) == ["logit_scale"]
    assert account["scalars"]["logit_scale"] == peer.logit_scale.item()
    assert sum(account["converted"].values()) + 48 + 1 == sum(p.numel() for p in peer.parameters())


@pytest.mark.parametrize("kind", ["CLIPVisionModel", "CLIPVisionModelWithProjection"])
def test_an_image_tower_saved_by_itself_is_read(tmp_path, randomise, pixels, same, kind):
    peer = randomise(getattr(transformers, kind)(transformers.CLIPVisionConfig(**IMAGE, projection_dim=20)))
    peer.save_pretrained(tmp_path)
    batch = pixels(3, 32, 32)
    theirs = peer(batch.data)
    model = unimodal.load(f"transformers:{tmp_path}")
    same(model.embed(batch), theirs.image_embeds if "Projection" in kind else theirs.pooler_output)


@pytest.mark.parametrize("kind", ["CLIPTextModel", "CLIPTextModelWithProjection"])
def test_a_text_tower_saved_by_itself_is_read(tmp_path, randomise, same, kind):
    peer = randomise(getattr(transformers, kind)(transformers.CLIPTextConfig(**TEXT, projection_dim=20)))
    peer.save_pretrained(tmp_path)
    model = unimodal.load(f"transformers:{tmp_path}")
    text = model.tokenizers["text"]
    theirs = peer(filled(TEXTS))
    ours = model.embed(text.collate([text.read(ids) for ids in TEXTS]))
    same(ours, theirs.text_embeds if "Projection" in kind else theirs.pooler_output)


def test_a_tower_that_is_not_there_is_refused(saved):
    _, spec = saved()
    with pytest.raises(UnknownNameError, match="no tower in .* named 'audio'"):
        unimodal.load(spec, tower="audio")


def test_pictures_reach_the_stem_as_through_the_peers_own_processor(saved, tmp_path, photo, normalised):
    _, spec = saved()
    processor = transformers.CLIPImageProcessor()
    processor.save_pretrained(tmp_path)
    theirs = processor(photo, return_tensors="pt")["pixel_values"]
    model = unimodal.load(spec)
    ours = normalised(model)
    assert ours.shape == theirs.shape
    # Ours cuts and resizes in one step: at the cut its filter sees nothing behind the edge.
    inner = (ours - theirs).abs()[..., 3:-3, 3:-3]
    assert 255 * max(model.tokenizers["image"].std) * inner.max() < 1.51
