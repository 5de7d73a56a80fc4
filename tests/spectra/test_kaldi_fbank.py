"""The spectrum ``kaldi_fbank`` against its equation in loops, torchaudio's, and what must not matter."""

import math

import pytest
import torch

from unimodal.spectra.kaldi_fbank import KaldiFbank


def slow_mel(hertz: float) -> float:
    return 1127.0 * math.log(1.0 + hertz / 700.0)


def slow_fbank(wave: list[float], bands: int, rate: int) -> list[list[float]]:
    """Log energies (F, M) of one sound, every sum written out."""
    window, hop = rate * 25 // 1000, rate // 100
    points = 2 ** math.ceil(math.log2(window))
    low, high = slow_mel(20.0), slow_mel(rate / 2)
    step, rows = (high - low) / (bands + 1), []
    for begin in range(0, len(wave) - window + 1, hop):
        frame = wave[begin : begin + window]
        mean = sum(frame) / window
        frame = [y - mean for y in frame]
        frame = [y - 0.97 * frame[max(0, i - 1)] for i, y in enumerate(frame)]
        frame = [y * (0.5 - 0.5 * math.cos(2 * math.pi * i / (window - 1))) for i, y in enumerate(frame)]
        power = []
        for k in range(points // 2):
            real = sum(y * math.cos(2 * math.pi * k * i / points) for i, y in enumerate(frame))
            imaginary = sum(y * math.sin(2 * math.pi * k * i / points) for i, y in enumerate(frame))
            power.append(real**2 + imaginary**2)
        row = []
        for band in range(bands):
            energy = 0.0
            for k, p in enumerate(power):
                mel, left = slow_mel(rate / points * k), low + band * step
                energy += p * max(0.0, min((mel - left) / step, (left + 2 * step - mel) / step))
            row.append(math.log(max(energy, torch.finfo(torch.float32).eps)))
        rows.append(row)
    return rows


def test_it_equals_the_equation():
    wave = torch.randn(700, dtype=torch.float64)
    slow = torch.tensor(slow_fbank(wave.tolist(), 7, 8000), dtype=torch.float64)
    ours = KaldiFbank(rate_hz=8000, bands=7, mean=1.5, std=2.0)(wave[None])[0]
    assert ours.shape == (7, 7)
    torch.testing.assert_close(2.0 * ours + 1.5, slow.T, rtol=0, atol=1e-4)  # the bank's weights have float32's digits


@pytest.mark.parametrize("rate, bands", [(16_000, 128), (16_000, 80), (22_050, 64)])
def test_it_is_torchaudios(rate, bands):
    kaldi = pytest.importorskip("torchaudio").compliance.kaldi
    time = torch.arange(rate) / rate
    wave = 0.3 * torch.sin(2 * math.pi * (200 + 1500 * time) * time) + 0.02 * torch.randn(rate)
    theirs = kaldi.fbank(wave[None], sample_frequency=rate, window_type="hanning", num_mel_bins=bands)
    ours = KaldiFbank(rate_hz=rate, bands=bands, mean=0.0, std=1.0)(wave[None])[0]
    assert ours.shape == theirs.T.shape
    # float32 leaves a line of the spectrum an error of about 1e-6 of the frame's loudest, whatever its own power
    gap = (ours.exp() - theirs.T.exp()).abs().amax(0) / theirs.T.exp().amax(0)
    assert gap.max() < 2e-6


def test_a_constant_and_what_lies_behind_the_last_whole_frame_change_nothing():
    fbank, wave = KaldiFbank(), torch.randn(1, 4000)
    assert fbank(wave).shape[-1] == fbank.count(4000) == 23
    changed = wave.clone()
    changed[:, 400 + 22 * 160 :] = 9.0
    assert torch.equal(fbank(changed), fbank(wave))
    torch.testing.assert_close(fbank(wave.double() + 0.5), fbank(wave.double()), rtol=0, atol=1e-6)


def test_ten_times_as_loud_is_a_step_of_two_logarithms_of_ten():
    fbank, wave = KaldiFbank(mean=0.0, std=1.0), torch.randn(1, 8000, dtype=torch.float64)
    step = fbank(10 * wave) - fbank(wave)
    heard = fbank(wave) > -15
    torch.testing.assert_close(step[heard], torch.full_like(step[heard], math.log(100)), rtol=0, atol=1e-9)


def test_filled_frames_hold_a_log_energy_of_zero_and_longer_sounds_are_cut():
    filled, plain, wave = KaldiFbank(frames=30), KaldiFbank(), torch.randn(2, 6000)
    fewer, more = filled(wave[:, :4000]), KaldiFbank(frames=5)(wave)
    assert torch.equal(fewer[..., :23], plain(wave[:, :4000]))
    assert torch.equal(fewer[..., 23:], torch.full((2, 128, 7), 4.2677393) / 9.1379948)
    assert torch.equal(more, plain(wave)[..., :5])


def test_the_fewest_samples_of_a_number_of_frames_have_just_that_many():
    fbank = KaldiFbank()
    for frames in (1, 2, 1024):
        assert fbank.count(fbank.samples(frames)) == frames
        assert fbank.count(fbank.samples(frames) - 1) == frames - 1


def test_gradients_are_right_and_those_of_silence_finite():
    fbank = KaldiFbank(rate_hz=1000, bands=4, mean=0.0, std=1.0)
    assert torch.autograd.gradcheck(fbank, torch.randn(1, 37, dtype=torch.float64, requires_grad=True))
    silence = torch.zeros(1, 800, requires_grad=True)
    KaldiFbank()(silence).sum().backward()
    assert silence.grad is not None
    assert silence.grad.isfinite().all()


def test_half_precision_sounds_are_computed_in_float32():
    wave = torch.randn(1, 2000).bfloat16()
    assert torch.equal(KaldiFbank()(wave), KaldiFbank()(wave.float()))


def test_export_gives_the_same():
    fbank, wave = KaldiFbank(), torch.randn(2, 3000)
    assert torch.equal(torch.export.export(fbank, (wave,)).module()(wave), fbank(wave))


@pytest.mark.parametrize("settings", [{"bands": 3}, {"std": 0.0}, {"rate_hz": 100}, {"frames": 0}])
def test_numbers_that_cannot_be_are_refused(settings):
    with pytest.raises(ValueError, match="bands must be 4 or more, rate_hz 1000 or more"):
        KaldiFbank(**settings)


def test_a_sound_shorter_than_a_frame_is_refused():
    with pytest.raises(ValueError, match="at least 400 samples"):
        KaldiFbank()(torch.zeros(1, 399))
