"""transformers' audio spectrogram transformer, from sound files to logits, computed by the one core."""

import csv
import io
import zipfile
from typing import Any

import numpy as np
import pytest
import torch

import unimodal
from unimodal.conversion import Published
from unimodal.converters.ast_transformers import ast_transformers
from unimodal.errors import CheckpointError
from unimodal.pretrained import load_with_info

transformers = pytest.importorskip("transformers")
soundfile = pytest.importorskip("soundfile")
pytestmark = pytest.mark.parity
TINY = {"hidden_size": 48, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 100}
TINY |= {"max_length": 128, "num_mel_bins": 64, "patch_size": 16, "frequency_stride": 10, "time_stride": 12}
HUB = "transformers:MIT/ast-finetuned-audioset-10-10-0.4593"


@pytest.fixture
def saved(tmp_path, randomise):
    def saved(kind: str = "ASTModel", processor: dict[str, Any] | None = None, **settings: Any) -> Any:
        config = transformers.ASTConfig(**{**TINY, **settings})
        peer = randomise(getattr(transformers, kind)(config))
        peer.save_pretrained(tmp_path)
        sizes = {"max_length": config.max_length, "num_mel_bins": config.num_mel_bins}
        extractor = transformers.ASTFeatureExtractor(**{**sizes, **(processor or {})})
        if processor is not None:
            extractor.save_pretrained(tmp_path)
        return peer, extractor, f"transformers:{tmp_path}"

    return saved


def noise(seconds: float) -> np.ndarray:
    return (0.1 * np.random.default_rng(0).standard_normal(round(16_000 * seconds))).astype(np.float32)


def through_ours(model: Any, *sources: Any) -> Any:
    tokenizer = model.tokenizer("audio")
    return tokenizer.collate([tokenizer.read(source) for source in sources])


@pytest.mark.parametrize("settings", [{}, {"hidden_act": "gelu_pytorch_tanh", "qkv_bias": False, "time_stride": 16}])
def test_tokens_and_pooler_are_the_peers(saved, same, settings):
    peer, extractor, spec = saved(**settings)
    model = unimodal.load(spec)
    waves = [noise(0.4), noise(1.0), noise(4.0)]
    with torch.inference_mode():
        theirs = peer(**extractor(waves, sampling_rate=16_000, return_tensors="pt"))
        batch = through_ours(model, *((wave, 16_000) for wave in waves))
        same(torch.stack(model(batch).split()), theirs.last_hidden_state)
        same(model.embed(batch), theirs.pooler_output)


def test_logits_are_the_peers_from_real_files_on(saved, parity, shared_data):
    settings = {"max_length": 1024, "num_mel_bins": 128, "time_stride": 10}
    peer, extractor, spec = saved("ASTForAudioClassification", {}, num_labels=7, **settings)
    model = unimodal.load(spec)
    rows = list(csv.DictReader((shared_data / "esc10" / "index.csv").read_text(encoding="utf-8").splitlines()))
    with zipfile.ZipFile(shared_data / "esc10" / "esc10_16k_vorbis.zip") as clips:
        files = [clips.read(row["file"]) for row in rows[::200]]
    waves = [soundfile.read(io.BytesIO(file), dtype="float32")[0] for file in files]
    with torch.inference_mode():
        theirs = peer(**extractor(waves, sampling_rate=16_000, return_tensors="pt")).logits
        ours = model.embed(through_ours(model, *files))
    parity("AST", "audio", HUB, ours, theirs)


def test_another_rate_is_resampled_as_the_peers_pipeline_does(saved, same, shared_data):
    functional = pytest.importorskip("torchaudio").functional
    peer, extractor, spec = saved()
    model = unimodal.load(spec)
    wave, rate = soundfile.read(shared_data / "fsdd_digits" / "fsdd_all.flac", dtype="float32", frames=5000)
    resampled = functional.resample(torch.from_numpy(wave), rate, 16_000).numpy()
    with torch.inference_mode():
        theirs = peer(**extractor(resampled, sampling_rate=16_000, return_tensors="pt")).pooler_output
        same(model.embed(through_ours(model, (wave, rate))), theirs)


def test_the_stored_preprocessing_is_obeyed(saved, same):
    peer, extractor, spec = saved(processor={"mean": -3.0, "std": 2.0})
    model, wave = unimodal.load(spec), noise(0.7)
    with torch.inference_mode():
        theirs = peer(**extractor(wave, sampling_rate=16_000, return_tensors="pt")).pooler_output
        same(model.embed(through_ours(model, (wave, 16_000))), theirs)
    spectrum = model.tokenizer("audio").spectrum
    assert (spectrum.mean, spectrum.std) == (-3.0, 4.0)


def test_preprocessing_that_is_not_scaled_and_of_another_size(saved):
    _, _, spec = saved(processor={"do_normalize": False})
    spectrum = unimodal.load(spec).tokenizer("audio").spectrum
    assert (spectrum.mean, spectrum.std) == (0.0, 1.0)
    _, _, spec = saved(processor={"max_length": 200})
    with pytest.raises(CheckpointError, match="max_length of the preprocessing is 200"):
        unimodal.load(spec)


def test_every_parameter_is_accounted_for(saved):
    peer, _, spec = saved("ASTForAudioClassification", num_labels=7)
    model, info = load_with_info(spec)
    assert info.card["conversion"]["folded"] == 2 * 48
    assert sum(p.numel() for p in model.parameters()) + 2 * 48 == sum(p.numel() for p in peer.parameters())


def test_the_published_size_has_the_published_number_of_parameters():
    """Gong et al. 2021 give 87 M for the base model; transformers' own count is exact."""
    config = transformers.ASTConfig()
    with torch.device("meta"):
        peer = transformers.ASTModel(config)
        published = Published("transformers", "audio_spectrogram_transformer", "AST", config.to_dict(), {})
        ours = ast_transformers(published).towers["audio"].part()
    count = sum(p.numel() for p in ours.parameters())
    assert count + 2 * 768 == sum(p.numel() for p in peer.parameters())
    assert round(count / 1e6) in (86, 87)


def test_tokens_that_are_left_over_are_an_error(saved, tmp_path):
    from safetensors.torch import load_file, save_file

    _, _, spec = saved()
    weights = load_file(tmp_path / "model.safetensors")
    save_file({**weights, "decoder.weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"1 are unexpected[\s\S]*decoder\.weight"):
        unimodal.load(spec)
