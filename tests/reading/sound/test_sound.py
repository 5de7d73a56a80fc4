"""Sound: every kind of file and array that is read, which part is taken, and the words for what cannot be."""

import io
import math
import sys
from typing import Any

import numpy as np
import pytest
import torch

from unimodal.errors import MissingExtraError
from unimodal.reading.sound import read_sound

soundfile = pytest.importorskip("soundfile")
av = pytest.importorskip("av")
RATE, SECONDS = 16_000, 1.5


def heard(source: Any, rate: int = RATE, window_s: float = 10.0, **part: float) -> tuple[torch.Tensor, Any]:
    wave, record, _ = read_sound(source, rate_hz=rate, window_s=window_s, **part)
    return wave, record


def strength(wave: torch.Tensor, hertz: float, rate: int = RATE) -> float:
    """Amplitude of a tone within the middle of a sound."""
    middle = wave[len(wave) // 4 : 3 * len(wave) // 4].double()
    turn = torch.exp(-2j * math.pi * hertz / rate * torch.arange(len(middle), dtype=torch.float64))
    return float(2 * (middle * turn).mean().abs())


EXACT = [("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "PCM_32"), ("WAV", "FLOAT"), ("WAV", "DOUBLE")]
EXACT += [("WAVEX", "PCM_24"), ("RF64", "PCM_16"), ("W64", "PCM_16"), ("AIFF", "PCM_16"), ("AIFF", "PCM_24")]
EXACT += [("AU", "PCM_16"), ("CAF", "PCM_16"), ("CAF", "ALAC_16"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24")]
FFMPEG = [("ipod", "aac", 44_100), ("adts", "aac", 22_050), ("ipod", "alac", 48_000), ("matroska", "aac", 44_100)]
FFMPEG += [("webm", "libopus", 48_000), ("ac3", "ac3", 48_000), ("mpegts", "aac", 32_000), ("wav", "pcm_s24le", 11_025)]
FFMPEG += [("mp3", "libmp3lame", 44_100), ("ogg", "libopus", 48_000)]
STEPS = {"PCM_U8": 2.0**-7, "PCM_16": 2.0**-15, "ALAC_16": 2.0**-15, "PCM_24": 2.0**-23, "PCM_32": 2.0**-24}


@pytest.mark.parametrize("form, subtype", [*EXACT, ("WAV", "PCM_U8")])
def test_lossless_files_give_their_samples(form, subtype, tone, through_soundfile):
    samples = tone()
    wave, record = heard(through_soundfile(samples, RATE, form, subtype))
    assert (record.rate_hz, record.channels, record.duration_s, record.whole) == (RATE, 1, SECONDS, True)
    assert np.abs(wave.numpy() - samples).max() <= STEPS.get(subtype, 0.0)


@pytest.mark.parametrize("form, subtype", [("WAV", "ULAW"), ("WAV", "MS_ADPCM"), ("OGG", "VORBIS"), ("MP3", None)])
def test_lossy_files_give_the_tone_that_went_in(form, subtype, tone, through_soundfile):
    wave, record = heard(through_soundfile(tone(), RATE, form, subtype))
    assert abs(record.duration_s - SECONDS) < 0.05
    assert abs(strength(wave, 440.0) - 0.4) < 0.02


def test_opus_gives_the_tone_that_went_in(tone, through_soundfile):
    wave, _ = heard(through_soundfile(tone(48_000), 48_000, "OGG", "OPUS"))
    assert abs(strength(wave, 440.0) - 0.4) < 0.05


@pytest.mark.parametrize("form, codec, rate", FFMPEG)
def test_what_ffmpeg_knows_gives_the_tone_that_went_in(form, codec, rate, tone, through_av):
    wave, record = heard(through_av(np.stack([tone(rate), tone(rate)], -1), rate, form, codec, "stereo"))
    assert (record.rate_hz, record.channels) == (rate, 2)
    assert abs(record.duration_s - SECONDS) < 0.15
    assert abs(strength(wave, 440.0) - 0.4) < 0.02


@pytest.mark.parametrize("form, codec, rate", FFMPEG)
def test_files_of_a_tenth_of_a_second_are_not_taken_for_truncated(form, codec, rate, tone, through_av):
    wave, record = heard(through_av(tone(rate, 0.1), rate, form, codec))
    assert 0.09 <= record.part_s <= 0.2
    assert wave.abs().max() > 0.3


def test_channels_are_averaged_whatever_their_number(tone, through_soundfile):
    left, right = tone(), tone(hertz=1000.0)
    wave, record = heard(through_soundfile(np.stack([left, right], -1), RATE, "WAV", "FLOAT"))
    assert record.channels == 2
    assert np.abs(wave.numpy() - (left + right) / 2).max() < 1e-7
    six = np.stack([left, right, left, 0 * left, right, right], -1)
    wave, record = heard(through_soundfile(six, RATE, "WAV", "FLOAT"))
    assert record.channels == 6
    assert np.abs(wave.numpy() - six.mean(1)).max() < 1e-6


@pytest.mark.parametrize("rate", [8000, 11_025, 11_127, 22_050, 44_100, 48_000, 96_000])
def test_any_rate_becomes_the_wanted_one(rate, tone, through_soundfile):
    wave, record = heard(through_soundfile(tone(rate), rate, "WAV", "FLOAT"))
    assert record.rate_hz == rate
    assert len(wave) == math.ceil(round(rate * SECONDS) * RATE / rate)
    assert abs(strength(wave, 440.0) - 0.4) < 1e-3


def test_a_path_bytes_a_file_object_and_an_array_are_the_same_sound(tmp_path, tone, through_soundfile):
    encoded = through_soundfile(tone(), RATE, "WAV", "FLOAT")
    (tmp_path / "a.wav").write_bytes(encoded)
    with open(tmp_path / "a.wav", "rb") as file:
        sources = [encoded, tmp_path / "a.wav", str(tmp_path / "a.wav"), file, io.BytesIO(encoded)]
        sources += [(tone(), RATE), (torch.from_numpy(tone()), RATE), [tone().tolist(), float(RATE)]]
        sources += [{"array": tone()[:, None], "sampling_rate": RATE}]
        for source in sources:
            assert np.abs(heard(source)[0].numpy() - tone()).max() < 1e-7


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint8, np.uint16, np.float16, np.float64])
def test_arrays_of_every_width_have_full_scale_one(dtype, tone):
    samples = tone()
    if np.dtype(dtype).kind == "f":
        given = samples.astype(dtype)
    else:
        half = 2.0 ** (8 * np.dtype(dtype).itemsize - 1)
        given = np.clip(np.round(samples * half) + (half if np.dtype(dtype).kind == "u" else 0), None, 2 * half - 1)
        given = given.astype(dtype)
    assert np.abs(heard((given, RATE))[0].numpy() - samples).max() < 0.01


def test_of_a_long_sound_the_wanted_seconds_are_decoded_and_recorded(tmp_path, tone):
    samples = np.concatenate([tone(hertz=300.0, seconds=2.0), tone(hertz=700.0, seconds=2.0)])
    soundfile.write(tmp_path / "long.flac", samples, RATE)
    wave, record = heard(tmp_path / "long.flac", window_s=1.0)
    assert (record.start_s, record.part_s, record.duration_s, record.whole) == (0.0, 1.0, 4.0, False)
    assert strength(wave, 300.0) > 0.39
    assert strength(wave, 700.0) < 0.01
    wave, record = heard(tmp_path / "long.flac", window_s=10.0, start_s=2.5)
    assert (record.start_s, record.part_s, record.whole) == (2.5, 1.5, False)
    assert np.abs(wave.numpy() - samples[40_000:]).max() < 1e-4


@pytest.mark.parametrize("form, codec", [("ipod", "aac"), ("matroska", "aac")])
def test_a_part_of_a_container_is_the_part_of_its_whole(form, codec, tone, through_av):
    samples = np.concatenate([tone(hertz=h, seconds=1.0) for h in (300.0, 500.0, 700.0, 900.0)])
    encoded = through_av(samples, RATE, form, codec)
    whole, _ = heard(encoded)
    part, record = heard(encoded, window_s=0.5, start_s=2.2)
    assert (record.start_s, len(part)) == (2.2, 8000)
    gaps = [(part - whole[35_200 + i : 43_200 + i]).abs().max() for i in range(-32, 33)]
    assert min(gaps) < 1e-3  # containers count time in milliseconds


def test_decoding_a_part_does_not_decode_the_rest(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "long.wav", np.zeros(RATE * 60, np.float32), RATE)
    asked: list[int] = []
    read = soundfile.SoundFile.read

    def counted(self, frames=-1, **settings):
        asked.append(frames)
        return read(self, frames, **settings)

    monkeypatch.setattr(soundfile.SoundFile, "read", counted)
    heard(tmp_path / "long.wav", window_s=1.0, start_s=50.0)
    assert asked == [RATE]


def test_a_wav_that_was_streamed_and_does_not_know_its_length_is_read(tone, through_soundfile):
    encoded = bytearray(through_soundfile(tone(), RATE, "WAV", "PCM_16"))
    for at in (4, encoded.index(b"data") + 4):
        encoded[at : at + 4] = b"\xff\xff\xff\xff"
    wave, record = heard(bytes(encoded))
    assert (len(wave), record.duration_s) == (24_000, SECONDS)


def test_a_wav_whose_recorder_was_cut_off_is_read_to_its_end(tone, wav):
    samples = np.round(tone() * 32_767).astype("<i2")
    wave, _ = heard(wav(content=samples.tobytes(), says=0))
    assert np.abs(wave.numpy() - tone()).max() < 1e-4


def test_a_coding_that_cannot_be_sought_is_read_from_its_beginning(tone, through_soundfile):
    encoded = through_soundfile(tone(8000), 8000, "WAV", "GSM610")
    whole, part = heard(encoded)[0], heard(encoded, start_s=0.5)[0]
    assert abs(strength(part, 440.0) - 0.4) < 0.02
    assert (part[100:] - whole[8100:]).abs().max() < 1e-5


@pytest.mark.parametrize("cut, before", [(700, b""), (0, bytes(500))])
def test_an_mp3_stream_that_begins_anywhere_is_found(cut, before, tone, through_soundfile):
    wave, record = heard(before + through_soundfile(tone(), RATE, "MP3")[cut:])
    assert record.format == "MP3"
    assert abs(strength(wave, 440.0) - 0.4) < 0.02


def test_tags_in_front_and_behind_do_not_matter(tone, through_soundfile):
    tag = b"ID3\x04\x00\x00\x00\x00\x10\x00" + bytes(2048)
    for form in ("MP3", "FLAC"):
        encoded = through_soundfile(tone(), RATE, form)
        assert torch.equal(heard(tag + encoded)[0], heard(encoded)[0])
    mp3 = through_soundfile(tone(), RATE, "MP3")
    assert torch.equal(heard(mp3 + b"TAG" + bytes(125))[0], heard(mp3)[0])


def test_silence_is_a_sound():
    wave, _ = heard((np.zeros(1000, np.int16), 8000))
    assert len(wave) == 2000
    assert not wave.any()


@pytest.mark.parametrize("package, extra, head", [("soundfile", "audio", b"fLaC"), ("av", "video", b"\x0b\x77")])
def test_a_missing_library_is_named_with_its_extra(monkeypatch, package, extra, head):
    monkeypatch.setitem(sys.modules, package, None)
    if package == "soundfile":
        monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=rf"unimodal\[{extra}\]"):
        heard(head + bytes(90))


def test_without_soundfile_pyav_reads_what_it_can(monkeypatch, tone, through_soundfile):
    monkeypatch.setitem(sys.modules, "soundfile", None)
    wave, record = heard(through_soundfile(tone(), RATE, "FLAC"))
    assert record.format == "FLAC"
    assert np.abs(wave.numpy() - tone()).max() < 1e-4
