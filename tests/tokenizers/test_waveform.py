"""The tokenizer ``waveform``: its equation, the exact way back, scaling, and what it refuses."""

import numpy as np
import pytest
import torch

from unimodal.errors import InputError
from unimodal.part import Part
from unimodal.stems.overlapping_patch import OverlappingPatchStem
from unimodal.testing import check_tokenizer
from unimodal.tokenizers.waveform import Waveform


def noise(samples: int, rate: int = 16_000) -> tuple[np.ndarray, int]:
    return (0.2 + 0.1 * np.random.default_rng(0).standard_normal(samples)).astype(np.float32), rate


def patches(size: int, stride: int | None = None) -> Part:
    return Part(OverlappingPatchStem, patch=(1, size), stride=(1, stride or size), channels=1)


@pytest.mark.parametrize("settings", [{}, {"scaled": True}, {"rate_hz": 8000, "stem": patches(80)}])
def test_it_keeps_the_contract_of_tokenizers(settings):
    check_tokenizer("waveform", Waveform, **settings)


def test_overlapping_patches_keep_the_contract_and_say_that_there_is_no_way_back():
    tokenizer = Waveform(100, stem=patches(40, 20))
    tokens = tokenizer(tokenizer.collate([tokenizer.read(noise(100))]))
    assert tokens.side.grid == (4,)
    with pytest.raises(ValueError, match="only patches side by side can be inverted"):
        tokenizer.detokenize(tokens)


def test_a_token_is_a_linear_map_of_its_stretch():
    tokenizer, (samples, rate) = Waveform(5, stem=patches(7)), noise(20)
    tokens = tokenizer(tokenizer.collate([tokenizer.read((samples, rate))]))
    assert tokens.side.grid == (3,)
    filled = torch.nn.functional.pad(torch.from_numpy(samples), (0, 1))
    for n in range(3):
        for d in range(5):
            weight, bias = tokenizer.stem.project.weight[d, 0, 0], tokenizer.stem.project.bias[d]
            value = sum(weight[k] * filled[7 * n + k] for k in range(7)) + bias
            torch.testing.assert_close(tokens.x[0, n, d], value)


def test_tokens_give_the_samples_of_the_input_back_in_its_own_amplitude():
    tokenizer = Waveform(64, stem=patches(40), scaled=True)
    sources = [noise(500), noise(333), noise(81)]
    samples = [tokenizer.read(source) for source in sources]
    back = tokenizer.detokenize(tokenizer(tokenizer.collate(samples)))
    for wave, sample, (given, _) in zip(back.data, samples, sources, strict=True):
        found = sample.record.amplitude(wave)[: len(given)]
        assert (found - torch.from_numpy(given)).abs().max() < 1e-5


def test_a_width_below_the_stretch_has_no_way_back():
    tokenizer = Waveform(8, stem=patches(40))
    tokens = tokenizer(tokenizer.collate([tokenizer.read(noise(100))]))
    with pytest.raises(ValueError, match="not invertible: 40 values became 8 numbers"):
        tokenizer.detokenize(tokens)


def test_scaled_samples_have_zero_mean_and_unit_variance():
    sample = Waveform(4, scaled=True).read(noise(6400))
    assert abs(sample.data.mean()) < 1e-6
    assert abs(sample.data.var(correction=0) - 1) < 1e-4
    assert sample.record.mean == pytest.approx(0.2, abs=0.01)
    assert sample.record.scale == pytest.approx(0.1, abs=0.01)
    silence = Waveform(4, scaled=True).read((np.zeros(700, np.float32), 16_000))
    assert not silence.data.any()


@pytest.mark.parametrize("samples, tokens", [(1, 1), (320, 1), (321, 2), (16_000, 50), (160_000, 500)])
def test_a_sound_gets_the_tokens_that_its_length_needs(samples, tokens):
    sample = Waveform(4).read(noise(samples))
    assert sample.cost == tokens
    assert len(sample.data) == 320 * tokens


def test_without_filling_the_last_part_of_a_cell_is_dropped():
    tokenizer = Waveform(4, whole=False)
    assert tokenizer.read(noise(700)).cost == 2
    assert len(tokenizer.read(noise(700)).data) == 700
    assert tokenizer.read(noise(10)).cost == 1


def test_long_sounds_are_read_by_parts():
    tokenizer, (samples, rate) = Waveform(4, window_s=0.5), noise(20_000)
    records = [sample.record for sample in tokenizer.windows((samples, rate))]
    assert [(r.start_s, r.part_s) for r in records] == [(0.0, 0.5), (0.5, 0.5), (1.0, 0.25)]


def test_a_place_in_time_is_found_again():
    tokenizer = Waveform(1, stem=patches(160))
    torch.nn.init.ones_(tokenizer.stem.project.weight)
    samples = np.zeros(16_000, np.float32)
    samples[4321] = 1.0
    sample = tokenizer.read((samples, 16_000))
    loud = tokenizer(tokenizer.collate([sample])).x[0, :, 0].detach()
    begin, end = sample.record.spans()[int(loud.argmax())].tolist()
    assert begin <= 4321 / 16_000 < end
    assert tokenizer.restore(loud, sample.record, rate_hz=100.0).shape == (100,)


def test_it_claims_sounds_less_than_the_spectrogram_does(tmp_path):
    from unimodal.tokenizers.audio import Audio

    (tmp_path / "a.wav").write_bytes(b"RIFF\x00\x00\x00\x00WAVEfmt ")
    assert Waveform.claims(tmp_path / "a.wav") < Audio.claims(tmp_path / "a.wav")


@pytest.mark.parametrize(
    "content, words",
    [
        (None, "does not exist"),
        (b"", "is empty"),
        (b"words " * 100, "is not a sound file"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "damaged or truncated"),
        (b"fLaC" + bytes(100), "damaged or truncated"),
        (b"OggS" + bytes(100), "damaged or truncated"),
        (b"ID3\x04\x00\x00\x00\x00\x00\x00" + bytes(200), "damaged or truncated"),
        (b"\x00\x00\x00\x20ftypM4A " + bytes(100), "damaged or truncated"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path, content, words):
    pytest.importorskip("soundfile")
    pytest.importorskip("av")
    if content is not None:
        (tmp_path / "bad.wav").write_bytes(content)
    with pytest.raises(InputError, match=rf"bad\.wav: .*{words}"):
        Waveform(4).read(tmp_path / "bad.wav")


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"window_s must be at least a cell of 0\.02 s"):
        Waveform(4, window_s=0.01)
    with pytest.raises(ValueError, match="rate_hz must be positive"):
        Waveform(4, rate_hz=0)
    with pytest.raises(ValueError, match="stem must take 1 channel, not 3"):
        Waveform(4, stem=Part(OverlappingPatchStem, patch=(1, 9)))
    with pytest.raises(ValueError, match="samples is empty"):
        Waveform(4).collate([])
