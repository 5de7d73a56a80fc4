"""transformers' SigLIP towers, saved by ``save_pretrained``, computed by the one core."""

import pytest
import torch

import unimodal
from unimodal.pretrained import load_with_info

transformers = pytest.importorskip("transformers")
pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
TINY = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 100}
IMAGE = {**TINY, "image_size": 32, "patch_size": 8}
TEXT = {**TINY, "vocab_size": 60, "max_position_embeddings": 12, "projection_size": 20}
TEXT |= {"eos_token_id": 1, "bos_token_id": 58, "pad_token_id": 1}
TEXTS = [[3, 4, 5, 1], [1], [*range(2, 13), 1]]


@pytest.fixture
def saved(tmp_path, randomise):
    config = transformers.SiglipConfig(text_config=TEXT, vision_config=IMAGE)
    peer = randomise(transformers.SiglipModel(config))
    peer.save_pretrained(tmp_path)
    return peer, f"transformers:{tmp_path}"


def filled(texts: list[list[int]]) -> torch.Tensor:
    return torch.tensor([ids + [1] * (12 - len(ids)) for ids in texts])


@pytest.mark.parametrize("images, rows, columns", [(3, 32, 32), (5, 40, 24)])
def test_the_image_tower_is_the_peers(saved, pixels, same, parity, images, rows, columns):
    peer, spec = saved
    model = unimodal.load(spec)
    batch = pixels(images, rows, columns)
    with torch.inference_mode():
        theirs = peer.vision_model(batch.data, interpolate_pos_encoding=True)
        same(model(batch).x, theirs.last_hidden_state)
        hub = "transformers:google/siglip-base-patch16-224"
        parity("SigLIP", "image", hub, model.embed(batch), theirs.pooler_output)


def test_the_text_tower_sees_its_filling_as_the_peer_does(saved, same, parity):
    peer, spec = saved
    model = unimodal.load(spec, tower="text")
    text = model.tokenizers["text"]
    batch = text.collate([text.read(ids) for ids in TEXTS])
    assert torch.equal(batch.data, filled(TEXTS))
    with torch.inference_mode():
        theirs = peer.text_model(filled(TEXTS))
        same(model(batch).x, theirs.last_hidden_state)
        hub = "transformers:google/siglip-base-patch16-224"
        parity("SigLIP", "text", hub, model.embed(batch), theirs.pooler_output)


def test_every_parameter_of_both_towers_is_accounted_for(saved):
    peer, spec = saved
    _, info = load_with_info(spec)
    account = info.card["conversion"]
    assert account["folded"] == 0
    assert sorted(account["set aside"]) == ["logit_bias", "logit_scale"]
    assert sum(account["converted"].values()) + 2 == sum(p.numel() for p in peer.parameters())


@pytest.mark.parametrize("head", [True, False])
def test_an_image_tower_saved_by_itself_is_read(tmp_path, randomise, pixels, same, head):
    peer = randomise(transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**IMAGE, vision_use_head=head)))
    peer.save_pretrained(tmp_path)
    model = unimodal.load(f"transformers:{tmp_path}")
    batch = pixels(3, 32, 32)
    theirs = peer(batch.data)
    same(model(batch).x, theirs.last_hidden_state)
    assert (model.readout is not None) == head


def test_pictures_reach_the_stem_as_through_the_peers_own_processor(saved, tmp_path, photo, normalised):
    _, spec = saved
    processor = transformers.SiglipImageProcessor(size={"height": 96, "width": 96})
    processor.save_pretrained(tmp_path)
    theirs = processor(photo, return_tensors="pt")["pixel_values"]
    ours = normalised(unimodal.load(spec))
    assert ours.shape == theirs.shape
    assert 255 * 0.5 * (ours - theirs).abs().max() < 1.51
