"""Sound: what is wrong with a file or with samples is said in words, with its name, and nothing else happens."""

import io
import math
import struct
from typing import Any

import numpy as np
import pytest
import torch

from unimodal.errors import InputError
from unimodal.reading.sound import read_sound

soundfile = pytest.importorskip("soundfile")
av = pytest.importorskip("av")
RATE = 16_000


def heard(source: Any, **part: float) -> tuple[torch.Tensor, Any]:
    return read_sound(source, rate_hz=RATE, window_s=10.0, **part)[:2]


def video_without_sound() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        track = container.add_stream("mpeg4", rate=10)
        track.width = track.height = 32
        track.pix_fmt = "yuv420p"
        for _ in range(3):
            container.mux(track.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        container.mux(track.encode(None))
    return file.getvalue()


@pytest.fixture(scope="module")
def bad_files(tone, through_soundfile, through_av, wav) -> dict[str, tuple[bytes, str]]:
    whole = bytearray(wav(content=bytes(8000)))
    whole[32:36] = struct.pack("<HH", 8, 64)
    flac = through_soundfile(tone(), RATE, "FLAC")
    nan = tone()
    nan[[5, 9]] = math.nan, math.inf
    mp3 = through_soundfile(tone(seconds=4.0), RATE, "MP3")
    m4a = through_av(tone(seconds=3.0), RATE, "ipod", "aac")
    return {
        "empty": (b"", "is empty"),
        "text": (b"these are the words of a letter\n" * 40, "is not a sound file .it begins with b'these ar'"),
        "playlist": (b"#EXTM3U\n#EXTINF:1,\n/etc/hostname\n", "is not a sound file"),
        "garbage": (bytes(range(1, 251)) * 9, "is not a sound file"),
        "picture": (b"\x89PNG\r\n\x1a\n" + bytes(200), "is not a sound file"),
        "header only": (wav(content=b""), "has no samples"),
        "cut header": (wav()[:30], "damaged or truncated|is not a sound file"),
        "truncated WAV": (wav()[:3000], "is truncated: 2956 of 8000 bytes of samples are there"),
        "truncated FLAC": (flac[: len(flac) // 2], "damaged or truncated FLAC data|truncated FLAC data"),
        "truncated MP3": (mp3[: len(mp3) // 2], "truncated MP3 data: it ends after"),
        "truncated M4A": (m4a[: len(m4a) // 2], "damaged or truncated mov file"),
        "64 whole bits": (bytes(whole), "of a coding that cannot be read"),
        "rate 0": (wav(rate=0), "rate|damaged"),
        "no numbers": (through_soundfile(nan, RATE, "WAV", "FLOAT"), "has 2 samples that are NaN or infinite"),
        "too loud": (through_soundfile(tone() * 1e30, RATE, "WAV", "FLOAT"), r"has samples up to 4e\+29"),
        "video": (video_without_sound(), "has no sound track .it holds video.; give a file with sound"),
    }


def test_what_is_wrong_with_a_file_is_said_with_its_name(bad_files, tmp_path, capfd):
    for kind, (content, words) in bad_files.items():
        (tmp_path / f"{kind}.wav").write_bytes(content)
        with pytest.raises(InputError, match=rf"{kind}\.wav: .*({words})"):
            heard(tmp_path / f"{kind}.wav")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "source, words",
    [
        (np.zeros(100, np.float32), r"array \(100,\): has no sampling rate; give \(samples, rate_hz\)"),
        ((np.zeros(0), 8000), "has no samples"),
        ((np.zeros(9), 0), "the sampling rate 0; give a whole number of Hz"),
        ((np.zeros(9), 8000.5), "the sampling rate 8000.5"),
        ((np.zeros(9), "fast"), "the sampling rate 'fast'"),
        ((np.zeros((2, 3, 4)), 8000), "has 3 axes; samples are"),
        ((np.zeros((2, 8000)), 8000), "has 8000 channels; .*transpose it"),
        ((np.zeros(9, np.int64), 8000), "holds int64 values; give floats, or int16"),
        ((np.zeros(9, complex), 8000), "holds complex128 values"),
        (([[1.0], [2.0, 3.0]], 8000), "cannot be made an array"),
        (({"array": [0.5]}), "has the keys array; give array and sampling_rate"),
        ((np.full(9, np.nan), 8000), "has 9 samples that are NaN or infinite"),
        (object(), "cannot be read as a sound .it is a object.; give a path, .samples, rate_hz., bytes"),
        (io.StringIO("words"), "is a file opened as text"),
    ],
)
def test_what_is_wrong_with_samples_in_memory_is_said(source, words):
    with pytest.raises(InputError, match=words):
        heard(source)


def test_missing_files_directories_and_seconds_behind_the_end_are_named(tmp_path, tone):
    with pytest.raises(InputError, match=r"gone\.wav: does not exist"):
        heard(tmp_path / "gone.wav")
    with pytest.raises(InputError, match="is a directory"):
        heard(tmp_path)
    with pytest.raises(InputError, match="is 1.5 s long; there is nothing at second 2"):
        heard((tone(), RATE), start_s=2.0)
    with pytest.raises(InputError, match="from second -1"):
        heard((tone(), RATE), start_s=-1.0)


def test_random_damage_never_raises_anything_else(capfd, tone, through_soundfile, through_av):
    damage = np.random.default_rng(0)
    files = [through_soundfile(tone(seconds=0.5), RATE, form) for form in ("WAV", "FLAC", "OGG", "MP3", "AIFF")]
    files += [through_av(tone(seconds=0.5), RATE, form, "aac") for form in ("ipod", "adts", "matroska")]
    told = 0
    for file in files:
        for _ in range(6):
            bad = bytearray(file[: damage.integers(1, len(file))])
            for place in damage.integers(0, len(bad), 8):
                bad[place] = damage.integers(256)
            try:
                heard(bytes(bad))
            except InputError:
                told += 1
    assert told > 10
    assert capfd.readouterr() == ("", "")
