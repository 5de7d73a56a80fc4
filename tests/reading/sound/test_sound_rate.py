"""Resampling of sound against its equation in loops, torchaudio, and tones that must come through or vanish."""

import math

import pytest
import torch

from unimodal.reading.sound_rate import resample_sound


def slow(wave: list[float], old: int, new: int, crossings: int = 6, rolloff: float = 0.99) -> list[float]:
    """Every output as the sum over all samples."""
    band, out = min(old, new) * rolloff, []
    for n in range(math.ceil(len(wave) * new / old)):
        total = 0.0
        for t, x in enumerate(wave):
            z = (t / old - n / new) * band
            if abs(z) < crossings:
                sinc = math.sin(math.pi * z) / (math.pi * z) if z else 1.0
                total += x * sinc * math.cos(math.pi * z / 2 / crossings) ** 2 * band / old
        out.append(total)
    return out


@pytest.mark.parametrize("old, new", [(8, 5), (3, 7), (44_100, 16_000), (997, 1009), (5003, 4999), (2, 1)])
def test_it_equals_the_equation(old, new):
    wave = torch.randn(83)
    expected = torch.tensor(slow(wave.tolist(), old, new))
    torch.testing.assert_close(resample_sound(wave, old, new), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize("old, new", [(44_100, 16_000), (8000, 16_000), (48_000, 16_000), (16_000, 22_050)])
def test_it_is_torchaudios(old, new):
    functional = pytest.importorskip("torchaudio").functional
    wave = torch.randn(5000)
    theirs = functional.resample(wave, old, new)
    torch.testing.assert_close(resample_sound(wave, old, new), theirs, rtol=0, atol=2e-4)  # its kernel is in float32


def test_long_sounds_and_rates_without_a_common_divisor_are_the_same_in_chunks(monkeypatch):
    wave = torch.randn(4000)
    whole = [resample_sound(wave, old, new) for old, new in ((44_100, 16_000), (11_127, 16_000))]
    monkeypatch.setattr("unimodal.reading.sound_rate.CHUNK", 999)
    for one, (old, new) in zip(whole, ((44_100, 16_000), (11_127, 16_000)), strict=True):
        torch.testing.assert_close(resample_sound(wave, old, new), one, rtol=0, atol=1e-6)


def test_both_ways_of_computing_it_are_the_same(monkeypatch):
    wave = torch.randn(3001)
    pairs = [(44_100, 16_000), (8000, 16_000), (48_000, 16_000), (3, 7), (22_050, 16_000)]
    dense = [resample_sound(wave, *pair) for pair in pairs]
    monkeypatch.setattr("unimodal.reading.sound_rate.DENSE", 0)
    for one, pair in zip(dense, pairs, strict=True):
        torch.testing.assert_close(resample_sound(wave, *pair), one, rtol=0, atol=3e-6)


def test_a_tone_comes_through_and_one_above_the_lower_band_vanishes():
    time = torch.arange(44_100, dtype=torch.float64) / 44_100
    inside = slice(200, -200)
    low = resample_sound(torch.sin(2 * math.pi * 1000 * time), 44_100, 16_000)
    expected = torch.sin(2 * math.pi * 1000 * torch.arange(16_000, dtype=torch.float64) / 16_000).float()
    assert (low - expected)[inside].abs().max() < 1e-3
    high = resample_sound(torch.sin(2 * math.pi * 12_000 * time), 44_100, 16_000)
    assert high[inside].abs().max() < 1e-2


def test_an_equal_rate_and_no_samples_are_left_alone():
    wave = torch.randn(10)
    assert torch.equal(resample_sound(wave, 16_000, 16_000), wave)
    assert len(resample_sound(torch.empty(0), 8000, 16_000)) == 0


def test_a_rate_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="rates must be positive, not 0 and 16000 Hz"):
        resample_sound(torch.zeros(3), 0, 16_000)
