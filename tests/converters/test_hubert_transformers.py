"""transformers' HuBERT, from sound files to tokens, computed by the one core."""

import io
from typing import Any

import numpy as np
import pytest
import torch

import unimodal
from unimodal.errors import CheckpointError

transformers = pytest.importorskip("transformers")
soundfile = pytest.importorskip("soundfile")
pytestmark = pytest.mark.parity
TINY = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 100}
TINY |= {"conv_dim": (16,) * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 4, "vocab_size": 12}
LARGE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True}


@pytest.fixture
def saved(tmp_path, randomise):
    def saved(kind: str = "HubertModel", **settings: Any) -> Any:
        peer = randomise(getattr(transformers, kind)(transformers.HubertConfig(**{**TINY, **settings})))
        peer.save_pretrained(tmp_path)
        return peer, f"transformers:{tmp_path}"

    return saved


@pytest.fixture
def digits(shared_data) -> np.ndarray:
    """Two seconds of spoken digits; their 8 kHz are taken for 16."""
    return soundfile.read(shared_data / "fsdd_digits" / "fsdd_all.flac", dtype="float32", frames=32_000)[0]


def both(saved: tuple[Any, str], wave: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens of ours and of the peer."""
    peer, spec = saved
    model = unimodal.load(spec)
    tokenizer, file = model.tokenizer("waveform"), io.BytesIO()
    soundfile.write(file, wave, 16_000, format="WAV", subtype="FLOAT")
    extractor = transformers.Wav2Vec2FeatureExtractor()
    with torch.inference_mode():
        values = extractor(wave, sampling_rate=16_000, return_tensors="pt").input_values
        theirs = getattr(peer, "hubert", peer)(values).last_hidden_state
        ours = model(tokenizer.collate([tokenizer.read(file)])).x
    assert theirs.std(1).mean() > 0.1 * theirs.std()  # the tokens of one sound are not all alike
    return ours, theirs


def test_tokens_are_the_peers_from_a_file_on(saved, parity, digits):
    parity("HuBERT", "audio", "transformers:facebook/hubert-base-ls960", *both(saved(), digits))


@pytest.mark.parametrize("kind, settings", [("HubertForCTC", {}), ("HubertModel", LARGE), ("HubertForCTC", LARGE)])
def test_tokens_of_other_layouts_and_heads_are_the_peers(saved, same, digits, kind, settings):
    same(*both(saved(kind, **settings), digits))


def test_a_norm_over_the_batch_in_front_of_the_positions_is_refused(saved):
    _, spec = saved(conv_pos_batch_norm=True)
    with pytest.raises(CheckpointError, match="conv_pos_batch_norm is True"):
        unimodal.load(spec)
