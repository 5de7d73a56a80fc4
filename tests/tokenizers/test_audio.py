"""The tokenizer ``audio``: lattices, lengths, places in seconds, the contract, and what it refuses."""

import csv
import io
import math
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from unimodal.errors import InputError
from unimodal.part import Part
from unimodal.spectra.kaldi_fbank import KaldiFbank
from unimodal.spectra.log_mel import LogMel
from unimodal.stems.overlapping_patch import OverlappingPatchStem
from unimodal.stems.patch import PatchStem
from unimodal.testing import check_tokenizer
from unimodal.tokenizers.audio import Audio

soundfile = pytest.importorskip("soundfile")


def rows_of(table: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))


def noise(seconds: float, rate: int = 16_000) -> tuple[np.ndarray, int]:
    return (0.1 * np.random.default_rng(0).standard_normal(round(seconds * rate))).astype(np.float32), rate


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"stem": Part(OverlappingPatchStem, channels=1), "centred": False},
        {"spectrum": Part(LogMel), "stem": Part(PatchStem, channels=1, patch=8)},
        {"spectrum": Part(KaldiFbank, rate_hz=8000, bands=32), "window_s": 0.5},
    ],
)
def test_it_keeps_the_contract_of_tokenizers(settings):
    check_tokenizer("audio", Audio, **settings)


def test_a_token_is_the_projection_of_a_patch_of_the_spectrogram():
    tokenizer = Audio(6)
    sample = tokenizer.read(noise(0.7))
    tokens = tokenizer(tokenizer.collate([sample]))
    image = tokenizer.spectrum(sample.data[None])[0]
    assert tokens.side.grid == sample.record.grid == (8, image.shape[1] // 16)
    for row, column in ((0, 0), (3, 1), (7, 4)):
        patch = image[16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
        for d in range(6):
            value = (tokenizer.stem.project.weight[d, 0] * patch).sum() + tokenizer.stem.project.bias[d]
            torch.testing.assert_close(tokens.x[0, row * tokens.side.grid[1] + column, d], value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("seconds, columns", [(0.001, 1), (0.175, 1), (0.18, 2), (1.0, 7), (5.0, 32), (10.0, 63)])
def test_a_sound_gets_the_cells_that_its_length_needs(seconds, columns):
    sample = Audio(4).read(noise(seconds))
    assert sample.record.grid == (8, columns)
    assert sample.cost == 8 * columns <= 512
    assert sample.record.whole
    assert len(sample.data) == 400 + 160 * (16 * columns - 1) >= round(seconds * 16_000)
    assert not sample.data[round(seconds * 16_000) :].any()


def test_ten_seconds_as_the_audio_spectrogram_transformer_cuts_them_are_1212_tokens():
    spectrum, stem = Part(KaldiFbank, frames=1024), Part(OverlappingPatchStem, channels=1)
    tokenizer = Audio(4, spectrum=spectrum, stem=stem, window_s=10.24)
    for seconds in (0.01, 3.0, 12.0):
        assert tokenizer.read(noise(seconds)).record.grid == (12, 101)


def test_of_a_longer_sound_the_wanted_seconds_are_taken_and_recorded():
    tokenizer = Audio(4, window_s=2.0)
    samples, rate = noise(5.0)
    sample = tokenizer.read((samples, rate))
    assert (sample.record.start_s, sample.record.part_s, sample.record.duration_s) == (0.0, 2.0, 5.0)
    later = tokenizer.read((samples, rate), start_s=1.0)
    alone = tokenizer.read((samples[rate : 3 * rate], rate))
    assert torch.equal(later.data, alone.data)


def test_windows_read_all_of_a_sound_and_say_where_each_belongs():
    tokenizer = Audio(4, window_s=2.0)
    samples, rate = noise(5.0, 8000)
    records = [sample.record for sample in tokenizer.windows((samples, rate))]
    assert [(r.start_s, r.part_s) for r in records] == [(0.0, 2.0), (2.0, 2.0), (4.0, 1.0)]
    assert len(list(tokenizer.windows((samples[:16_000], rate)))) == 1


def test_a_constant_is_taken_away_and_recorded():
    tokenizer = Audio(4)
    samples, rate = noise(0.5)
    plain, shifted = tokenizer.read((samples, rate)), tokenizer.read((samples + 0.25, rate))
    assert shifted.record.mean - plain.record.mean == pytest.approx(0.25, abs=1e-6)
    assert (shifted.data - plain.data)[:8000].abs().max() < 1e-6
    assert Audio(4, centred=False).read((samples + 0.25, rate)).record.mean == 0.0


def test_a_click_is_found_at_its_second():
    tokenizer = Audio(1)
    torch.nn.init.ones_(tokenizer.stem.project.weight)
    for when in (0.5, 1.37, 2.9):
        samples = np.zeros(3 * 22_050, np.float32)
        samples[round(when * 22_050)] = 1.0
        sample = tokenizer.read((samples, 22_050))
        tokens = tokenizer(tokenizer.collate([sample]))
        loud = tokens.x[0, :, 0].detach().unflatten(0, tokens.side.grid).sum(0)
        cell = int(loud.argmax())
        begin, end = sample.record.spans()[cell].tolist()
        assert begin - 0.013 <= when <= end + 0.013  # half a frame of 25 ms
        line = tokenizer.restore(loud, sample.record, rate_hz=100.0)
        assert line.shape == (300,)
        assert abs(float(line.argmax() + 0.5) / 100 - when) <= 0.09 + 0.013


def test_filled_sounds_have_one_length():
    tokenizer = Audio(4, spectrum=Part(LogMel), stem=Part(PatchStem, channels=1), window_s=3.0, filled=True)
    samples = [tokenizer.read(noise(seconds)) for seconds in (0.5, 2.0, 7.0)]
    batch = tokenizer.collate(samples)
    assert isinstance(batch.data, torch.Tensor)
    assert batch.data.shape == (3, 48_000)
    assert [sample.record.part_s for sample in samples] == [0.5, 2.0, 3.0]
    assert tokenizer(batch).side.grid == (5, 18)


def test_a_model_in_half_precision_still_hears_in_float32():
    tokenizer = Audio(8).to(torch.bfloat16)
    sample = tokenizer.read(noise(0.5))
    tokens = tokenizer(tokenizer.collate([sample]))
    assert tokens.x.dtype == torch.bfloat16
    expected = tokenizer.stem(tokenizer.spectrum(sample.data[None])[:, None].bfloat16()).flatten(2).mT
    assert torch.equal(tokens.x, expected)


def test_it_can_be_built_without_memory():
    with torch.device("meta"):
        assert Audio(128).stem.project.weight.is_meta


@pytest.mark.parametrize(
    "name, content, low, high",
    [
        ("a.wav", b"RIFF\x00\x00\x00\x00WAVEfmt ", 0.9, 1.0),
        ("a", b"fLaC" + bytes(40), 0.9, 1.0),
        ("a.ogg", b"OggS" + bytes(24) + b"\x01vorbis", 0.9, 1.0),
        ("a.ogg", b"OggS" + bytes(24) + b"\x80theora", 0.0, 0.3),
        ("a.mp3", b"ID3\x04" + bytes(60), 0.9, 1.0),
        ("a.mp3", b"\xff\xfb\x90\x64" + bytes(60), 0.9, 1.0),
        ("a.m4a", b"\x00\x00\x00\x20ftypM4A ", 0.9, 1.0),
        ("a.mp4", b"\x00\x00\x00\x20ftypisom", 0.2, 0.4),
        ("a.wav", b"some words of a letter", 0.0, 0.1),
        ("a", b"RIFF\x00\x00\x00\x00WEBPVP8 ", 0.0, 0.1),
        ("a", b"\xff\xfe\x41\x00\x42\x00", 0.0, 0.1),
        ("a", b"", 0.0, 0.1),
    ],
)
def test_it_claims_files_by_their_first_bytes(tmp_path, name, content, low, high):
    (tmp_path / name).write_bytes(content)
    assert low <= Audio.claims(tmp_path / name) <= high


def test_a_file_that_is_not_there_is_claimed_without_an_error(tmp_path):
    assert Audio.claims(tmp_path / "gone.wav") == 0.5


@pytest.mark.parametrize(
    "content, words",
    [
        (b"", "is empty"),
        (b"words " * 100, "is not a sound file"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "damaged or truncated"),
        (b"fLaC" + bytes(100), "damaged or truncated"),
        (b"OggS" + bytes(100), "damaged or truncated"),
        (b"ID3\x04\x00\x00\x00\x00\x00\x00" + bytes(200), "damaged or truncated"),
        (b"\x00\x00\x00\x20ftypM4A " + bytes(100), "damaged or truncated"),
        (b"\x1a\x45\xdf\xa3" + bytes(100), "damaged or truncated"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path, content, words, capfd):
    (tmp_path / "bad.wav").write_bytes(content)
    with pytest.raises(InputError, match=rf"bad\.wav: .*{words}"):
        Audio(4).read(tmp_path / "bad.wav")
    assert capfd.readouterr() == ("", "")


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"window_s must be at least a cell of 0.175 s, not 0.1"):
        Audio(4, window_s=0.1)
    with pytest.raises(ValueError, match="window_s must be at least a cell"):
        Audio(4, window_s=math.inf)
    with pytest.raises(ValueError, match="stem must take 1 channel, not 3"):
        Audio(4, stem=Part(PatchStem))
    with pytest.raises(ValueError, match="samples is empty"):
        Audio(4).collate([])


def test_real_clips_and_spoken_digits_become_tokens_of_their_lengths(shared_data):
    tokenizer = Audio(32)
    with zipfile.ZipFile(shared_data / "esc10" / "esc10_16k_vorbis.zip") as clips:
        names = [row["file"] for row in rows_of(shared_data / "esc10" / "index.csv")][::80]
        samples = [tokenizer.read(io.BytesIO(clips.read(name))) for name in names]
    assert all(sample.record.duration_s == pytest.approx(5.0, abs=0.01) for sample in samples)
    assert {sample.cost for sample in samples} == {8 * 32}
    digits, rate = soundfile.read(shared_data / "fsdd_digits" / "fsdd_all.flac", dtype="int16")
    for row in rows_of(shared_data / "fsdd_digits" / "index.csv")[::300]:
        start, length = int(row["start"]), int(row["length"])
        samples.append(tokenizer.read((digits[start : start + length], rate)))
        assert samples[-1].record.duration_s == length / 8000
    tokens = tokenizer(tokenizer.collate(samples))
    assert tokens.x.isfinite().all()
    assert tokens.sequence_lengths() == [sample.cost for sample in samples]
    assert len(set(tokens.sequence_lengths())) > 2


def test_a_spoken_digit_within_a_long_file_is_read_without_the_rest(shared_data):
    file = shared_data / "fsdd_digits" / "fsdd_all.flac"
    row = rows_of(shared_data / "fsdd_digits" / "index.csv")[2000]
    start, length = int(row["start"]), int(row["length"])
    there = Audio(4, window_s=length / 8000, centred=False).read(file, start_s=start / 8000)
    samples, rate = soundfile.read(file, start=start, stop=start + length)
    assert there.record.duration_s > 1000
    assert torch.equal(there.data, Audio(4, centred=False).read((samples, rate)).data)
