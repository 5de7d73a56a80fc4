"""The spectrum ``log_mel`` against its equation in loops and transformers' feature extractor of Whisper."""

import math

import pytest
import torch

from unimodal.spectra.log_mel import LogMel


def slow_edges(bands: int, highest: float) -> list[float]:
    """Where the bands' triangles begin, peak and end, in Hz: Slaney's mel, straight below 1 kHz."""
    top = highest * 3 / 200 if highest < 1000 else 15 + 27 * math.log(highest / 1000, 6.4)
    mels = [top * i / (bands + 1) for i in range(bands + 2)]
    return [mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27) for mel in mels]


def slow_log_mel(wave: list[float], bands: int, rate: int, highest: float) -> list[list[float]]:
    """(F, M), every sum written out."""
    window, hop, edges = rate * 25 // 1000, rate // 100, slow_edges(bands, highest)
    half = window // 2
    mirrored = [*wave[half:0:-1], *wave, *wave[-2 : -half - 2 : -1]]
    rows = []
    for begin in range(0, len(wave) // hop * hop, hop):
        frame = mirrored[begin : begin + window]
        frame = [y * (0.5 - 0.5 * math.cos(2 * math.pi * i / window)) for i, y in enumerate(frame)]
        row = [0.0] * bands
        for k in range(half + 1):
            real = sum(y * math.cos(2 * math.pi * k * i / window) for i, y in enumerate(frame))
            imaginary = sum(y * math.sin(2 * math.pi * k * i / window) for i, y in enumerate(frame))
            hertz = k * rate / window
            for m in range(bands):
                low, middle, high = edges[m : m + 3]
                weight = max(0.0, min((hertz - low) / (middle - low), (high - hertz) / (high - middle)))
                row[m] += (real**2 + imaginary**2) * weight * 2 / (high - low)
        rows.append([math.log10(max(energy, 1e-10)) for energy in row])
    loudest = max(max(row) for row in rows)
    return [[(max(value, loudest - 8) + 4) / 4 for value in row] for row in rows]


def test_it_equals_the_equation():
    wave = torch.randn(655, dtype=torch.float64)
    slow = torch.tensor(slow_log_mel(wave.tolist(), 6, 8000, 3500.0), dtype=torch.float64)
    ours = LogMel(rate_hz=8000, bands=6, highest_hz=3500.0)(wave[None])[0]
    assert ours.shape == (6, 8)
    torch.testing.assert_close(ours, slow.T, rtol=0, atol=1e-6)  # window and bank are stored in float32


@pytest.mark.parametrize("bands", [80, 128])
def test_it_is_the_feature_extractors_of_whisper(bands):
    transformers = pytest.importorskip("transformers")
    theirs = transformers.WhisperFeatureExtractor(feature_size=bands, chunk_length=2)
    waves = [0.2 * torch.randn(16_000), 0.2 * torch.sin(torch.arange(30_000) * 0.3)]
    given = [wave.numpy() for wave in waves]
    features = theirs(given, sampling_rate=16_000, return_tensors="pt").input_features
    filled = torch.stack([torch.nn.functional.pad(wave, (0, 32_000 - len(wave))) for wave in waves])
    ours = LogMel(bands=bands)(filled)
    assert ours.shape == features.shape == (2, bands, 200)
    torch.testing.assert_close(ours, features, rtol=0, atol=2e-4)  # 1e-10 below the loudest is float32's noise


def test_what_is_eighty_decibels_below_the_loudest_is_at_the_floor():
    wave = torch.cat([torch.sin(torch.arange(8000) * 0.4), torch.zeros(8000)])[None].double()
    image = LogMel()(wave)[0]
    assert torch.equal(image[:, 60:], image.amax().sub(2.0).expand_as(image[:, 60:]))
    assert image.amax() - image.amin() == 2.0


def test_a_sounds_floor_does_not_depend_on_its_neighbour():
    quiet, loud = 0.01 * torch.randn(4000), torch.randn(4000)
    assert torch.equal(LogMel()(torch.stack([quiet, loud]))[0], LogMel()(torch.stack([quiet, 5 * loud]))[0])


def test_the_fewest_samples_of_a_number_of_frames_have_just_that_many():
    mel = LogMel()
    for frames in (2, 3, 3000):
        assert mel.count(mel.samples(frames)) == frames == mel(torch.zeros(1, mel.samples(frames))).shape[-1]
        assert mel.count(mel.samples(frames) - 1) == frames - 1
    assert mel(torch.zeros(1, mel.samples(1))).shape[-1] == mel.count(mel.samples(1)) == 1


def test_gradients_are_right_and_those_of_silence_finite():
    mel = LogMel(rate_hz=1000, bands=3, highest_hz=400.0)
    assert torch.autograd.gradcheck(mel, torch.randn(1, 41, dtype=torch.float64, requires_grad=True))
    silence = torch.zeros(1, 800, requires_grad=True)
    LogMel()(silence).sum().backward()
    assert silence.grad is not None
    assert silence.grad.isfinite().all()


def test_export_gives_the_same():
    mel, wave = LogMel(), torch.randn(2, 3000)
    assert torch.equal(torch.export.export(mel, (wave,)).module()(wave), mel(wave))


@pytest.mark.parametrize("settings", [{"bands": 0}, {"rate_hz": 100}, {"highest_hz": 9000.0}])
def test_numbers_that_cannot_be_are_refused(settings):
    with pytest.raises(ValueError, match="bands must be positive, rate_hz 1000 or more, highest_hz within its half"):
        LogMel(**settings)


def test_a_sound_that_cannot_be_mirrored_is_refused():
    with pytest.raises(ValueError, match="more than 200 samples"):
        LogMel()(torch.zeros(1, 200))
