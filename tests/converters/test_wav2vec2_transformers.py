"""transformers' wav2vec 2.0, from sound files to tokens, computed by the one core."""

import csv
import io
import zipfile
from typing import Any

import numpy as np
import pytest
import torch

import unimodal
from unimodal.conversion import Published
from unimodal.converters.wav2vec2_transformers import wav2vec2_transformers
from unimodal.errors import CheckpointError
from unimodal.pretrained import load_with_info

transformers = pytest.importorskip("transformers")
soundfile = pytest.importorskip("soundfile")
pytestmark = pytest.mark.parity
TINY = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 100}
TINY |= {"conv_dim": (16,) * 7, "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 4, "vocab_size": 12}
TINY |= {"num_codevectors_per_group": 8, "proj_codevector_dim": 16, "codevector_dim": 16}
LARGE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "conv_bias": True, "num_conv_pos_embeddings": 9}


@pytest.fixture
def saved(tmp_path, randomise):
    def saved(kind: str = "Wav2Vec2Model", processor: dict[str, Any] | None = None, **settings: Any) -> Any:
        peer = randomise(getattr(transformers, kind)(transformers.Wav2Vec2Config(**{**TINY, **settings})))
        peer.save_pretrained(tmp_path)
        extractor = transformers.Wav2Vec2FeatureExtractor(**(processor or {}))
        if processor is not None:
            extractor.save_pretrained(tmp_path)
        return peer, extractor, f"transformers:{tmp_path}"

    return saved


def noise(seconds: float) -> np.ndarray:
    return (0.1 + 0.1 * np.random.default_rng(0).standard_normal(round(16_000 * seconds))).astype(np.float32)


def through_ours(model: Any, *sources: Any) -> Any:
    tokenizer = model.tokenizer("waveform")
    return tokenizer.collate([tokenizer.read(source) for source in sources])


@pytest.mark.parametrize("kind", ["Wav2Vec2Model", "Wav2Vec2ForPreTraining", "Wav2Vec2ForCTC"])
@pytest.mark.parametrize("settings", [{}, LARGE])
def test_tokens_of_sounds_of_several_lengths_are_the_peers_of_each_alone(saved, same, kind, settings):
    peer, extractor, spec = saved(kind, **settings)
    body = peer if kind == "Wav2Vec2Model" else peer.wav2vec2
    model = unimodal.load(spec)
    waves = [noise(0.4), noise(1.0), noise(0.777)]
    with torch.inference_mode():
        rows = model(through_ours(model, *((wave, 16_000) for wave in waves))).split()
        for ours, wave in zip(rows, waves, strict=True):
            values = extractor(wave, sampling_rate=16_000, return_tensors="pt").input_values
            same(ours, body(values).last_hidden_state[0])


def test_tokens_are_the_peers_from_real_files_on(saved, parity, shared_data):
    peer, extractor, spec = saved(processor={})
    model = unimodal.load(spec)
    rows = list(csv.DictReader((shared_data / "esc10" / "index.csv").read_text(encoding="utf-8").splitlines()))
    with zipfile.ZipFile(shared_data / "esc10" / "esc10_16k_vorbis.zip") as clips:
        files = [clips.read(row["file"]) for row in rows[::200]]
    waves = [soundfile.read(io.BytesIO(file), dtype="float32")[0] for file in files]
    with torch.inference_mode():
        theirs = torch.cat(
            [peer(**extractor(wave, sampling_rate=16_000, return_tensors="pt")).last_hidden_state for wave in waves]
        )
        batch = through_ours(model, *files)
        parity("wav2vec 2.0", "audio", "transformers:facebook/wav2vec2-base-960h", model(batch).x, theirs)
        torch.testing.assert_close(model.embed(batch), theirs.mean(1), rtol=0, atol=1e-4)


def test_sounds_that_are_not_scaled_are_left_alone(saved, same):
    peer, extractor, spec = saved(processor={"do_normalize": False})
    model, wave = unimodal.load(spec), noise(0.5)
    with torch.inference_mode():
        values = extractor(wave, sampling_rate=16_000, return_tensors="pt").input_values
        assert torch.equal(values[0], torch.from_numpy(wave))
        same(model(through_ours(model, (wave, 16_000))).x, peer(values).last_hidden_state)


def test_the_older_names_of_the_positions_weights_are_known(saved, same, tmp_path):
    from safetensors.torch import load_file, save_file

    _, _, spec = saved()
    expected = unimodal.load(spec).positions["waveform"].around.weight
    renamed = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    weights = load_file(tmp_path / "model.safetensors")
    for new, old in renamed.items():
        weights = {name.replace(new, old): tensor for name, tensor in weights.items()}
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    assert torch.equal(unimodal.load(spec).positions["waveform"].around.weight, expected)


def test_every_parameter_is_accounted_for(saved):
    peer, _, spec = saved("Wav2Vec2ForCTC")
    model, info = load_with_info(spec)
    account = info.card["conversion"]
    assert set(account["set aside"]) == {"lm_head.weight", "lm_head.bias", "wav2vec2.masked_spec_embed"}
    assert account["folded"] == 8  # a length for each place of the positions' kernel
    aside = 12 * 48 + 12 + 48
    assert sum(p.numel() for p in model.parameters()) + aside + 8 == sum(p.numel() for p in peer.parameters())


def test_the_published_size_has_the_published_number_of_parameters():
    """Baevski et al. 2020, sec. 4.2: 95 M of the base model."""
    config = transformers.Wav2Vec2Config()
    with torch.device("meta"):
        peer = transformers.Wav2Vec2Model(config)
        weights = dict(peer.named_parameters())
        published = Published("transformers", "wav2vec2", "wav2vec2", config.to_dict(), weights)
        ours = wav2vec2_transformers(published).towers["waveform"].part()
    count = sum(p.numel() for p in ours.parameters())
    assert count + 128 + 768 == sum(p.numel() for p in peer.parameters())
    assert round(count / 1e6) in (94, 95)


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"feat_extract_activation": "relu"}, "feat_extract_activation is 'relu'"),
        ({"adapter_attn_dim": 4, "do_stable_layer_norm": True}, "adapter_attn_dim is 4"),
        ({"add_adapter": True}, "add_adapter is True"),
        ({"conv_dim": (16, 16, 16, 16, 16, 16, 8)}, "conv_dim is"),
    ],
)
def test_what_the_core_has_no_part_for_is_refused_by_name(saved, settings, words):
    _, _, spec = saved(**settings)
    with pytest.raises(CheckpointError, match=words):
        unimodal.load(spec)
