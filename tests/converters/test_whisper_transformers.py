"""transformers' Whisper encoder, from sound files to tokens, computed by the one core."""

import csv
import io
import zipfile
from typing import Any

import numpy as np
import pytest
import torch

import unimodal
from unimodal.conversion import Published
from unimodal.converters.whisper_transformers import whisper_transformers
from unimodal.errors import CheckpointError
from unimodal.pretrained import load_with_info

transformers = pytest.importorskip("transformers")
soundfile = pytest.importorskip("soundfile")
pytestmark = pytest.mark.parity
TINY = {"d_model": 48, "encoder_layers": 2, "encoder_attention_heads": 3, "encoder_ffn_dim": 100, "vocab_size": 60}
TINY |= {"decoder_layers": 1, "decoder_attention_heads": 3, "decoder_ffn_dim": 64, "max_source_positions": 100}
TINY |= {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}


@pytest.fixture
def saved(tmp_path, randomise):
    def saved(kind: str = "WhisperModel", processor: dict[str, Any] | None = None, **settings: Any) -> Any:
        config = transformers.WhisperConfig(**{**TINY, **settings})
        peer = randomise(getattr(transformers, kind)(config))
        peer.save_pretrained(tmp_path)
        sizes = {"feature_size": config.num_mel_bins, "chunk_length": config.max_source_positions // 50}
        extractor = transformers.WhisperFeatureExtractor(**{**sizes, **(processor or {})})
        if processor is not None:
            extractor.save_pretrained(tmp_path)
        return peer, extractor, f"transformers:{tmp_path}"

    return saved


def noise(seconds: float) -> np.ndarray:
    return (0.1 * np.random.default_rng(0).standard_normal(round(16_000 * seconds))).astype(np.float32)


def through_ours(model: Any, *sources: Any) -> Any:
    tokenizer = model.tokenizer("audio")
    return tokenizer.collate([tokenizer.read(source) for source in sources])


@pytest.mark.parametrize("kind", ["WhisperModel", "WhisperForConditionalGeneration"])
@pytest.mark.parametrize("settings", [{}, {"num_mel_bins": 128, "activation_function": "relu"}])
def test_tokens_are_the_peers_encoders(saved, same, kind, settings):
    peer, extractor, spec = saved(kind, **settings)
    model = unimodal.load(spec)
    waves = [noise(0.4), noise(2.0), noise(3.3)]
    with torch.inference_mode():
        features = extractor(waves, sampling_rate=16_000, return_tensors="pt").input_features
        theirs = peer.get_encoder()(features).last_hidden_state
        batch = through_ours(model, *((wave, 16_000) for wave in waves))
        same(model(batch).x, theirs)
        same(model.embed(batch), theirs.mean(1))


def test_tokens_of_thirty_seconds_are_the_peers_from_real_files_on(saved, parity, shared_data):
    peer, extractor, spec = saved("WhisperForConditionalGeneration", {}, max_source_positions=1500)
    model = unimodal.load(spec)
    rows = list(csv.DictReader((shared_data / "esc10" / "index.csv").read_text(encoding="utf-8").splitlines()))
    with zipfile.ZipFile(shared_data / "esc10" / "esc10_16k_vorbis.zip") as clips:
        files = [clips.read(row["file"]) for row in rows[::200]]
    waves = [soundfile.read(io.BytesIO(file), dtype="float32")[0] for file in files]
    with torch.inference_mode():
        features = extractor(waves, sampling_rate=16_000, return_tensors="pt").input_features
        theirs = peer.get_encoder()(features).last_hidden_state
        batch = through_ours(model, *files)
        assert [record.grid for record in batch.records] == [(1, 1500), (1, 1500)]
        parity("Whisper encoder", "audio", "transformers:openai/whisper-tiny", model(batch).x, theirs)


def test_cells_are_where_the_peer_has_them():
    """Position n of the encoder stands for the 20 ms around n / 50 s."""
    from unimodal.part import Part
    from unimodal.spectra.log_mel import LogMel
    from unimodal.stems.time_convolution import TimeConvolutionStem
    from unimodal.tokenizers.audio import Audio

    stem = Part(TimeConvolutionStem, bands=80, channels=1)
    tokenizer = Audio(4, spectrum=Part(LogMel), stem=stem, window_s=2.0, filled=True)
    record = tokenizer.read((noise(2.0), 16_000)).record
    assert record.grid == (1, 100)
    torch.testing.assert_close(record.seconds(torch.tensor([0, 50])), torch.tensor([0.0, 1.0]).double())


def test_the_decoder_is_set_aside_with_its_reason_and_every_parameter_accounted_for(saved):
    peer, _, spec = saved("WhisperForConditionalGeneration")
    model, info = load_with_info(spec)
    account = info.card["conversion"]
    assert all(".decoder." in name for name in account["set aside"])
    assert set(account["set aside"].values()) == {"writes text from what the encoder heard"}
    assert (account["folded"], account["added"]) == (0, 2 * 48)  # the zeros that stand for the keys' bias
    encoder = sum(p.numel() for p in peer.get_encoder().parameters())
    assert sum(p.numel() for p in model.parameters()) == encoder + 2 * 48


def test_a_published_size_has_its_encoders_number_of_parameters():
    """Radford et al. 2022, table 1: width, layers and heads of base."""
    config = transformers.WhisperConfig(
        d_model=512, encoder_layers=6, encoder_attention_heads=8, encoder_ffn_dim=2048, decoder_attention_heads=8
    )
    with torch.device("meta"):
        peer = transformers.WhisperModel(config)
        published = Published("transformers", "whisper", "whisper", config.to_dict(), dict(peer.named_parameters()))
        ours = whisper_transformers(published).towers["audio"].part()
    encoder = sum(p.numel() for p in peer.get_encoder().parameters())
    assert sum(p.numel() for p in ours.parameters()) == encoder + 6 * 512


def test_another_preprocessing_is_refused_by_name(saved):
    _, _, spec = saved(processor={"chunk_length": 3})
    with pytest.raises(CheckpointError, match="nb_max_frames of the preprocessing is 300, the converter knows 200"):
        unimodal.load(spec)
    _, _, spec = saved(processor={"dither": 0.1})
    with pytest.raises(CheckpointError, match=r"dither of the preprocessing is 0\.1"):
        unimodal.load(spec)


def test_tensors_of_another_head_are_an_error(saved):
    _, _, spec = saved("WhisperForAudioClassification", num_labels=3)
    with pytest.raises(CheckpointError, match=r"are unexpected[\s\S]*classifier"):
        unimodal.load(spec)
