"""What the tests of sounds share: a tone, and files of it in every coding that the libraries write."""

import io
import struct
from collections.abc import Callable

import numpy as np
import pytest

RATE, SECONDS = 16_000, 1.5


@pytest.fixture(scope="session")
def tone() -> Callable[..., np.ndarray]:
    """A tone of amplitude 0.4 at a rate, of a length in s, of a frequency."""

    def tone(rate: int = RATE, seconds: float = SECONDS, hertz: float = 440.0) -> np.ndarray:
        return (0.4 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)

    return tone


@pytest.fixture(scope="session")
def through_soundfile() -> Callable[..., bytes]:
    """Samples, rate, format, subtype -> a file as libsndfile writes it."""

    soundfile = pytest.importorskip("soundfile")

    def through_soundfile(samples: np.ndarray, rate: int, form: str, subtype: str | None = None) -> bytes:
        file = io.BytesIO()
        soundfile.write(file, samples, rate, format=form, subtype=subtype)
        return file.getvalue()

    return through_soundfile


@pytest.fixture(scope="session")
def through_av() -> Callable[..., bytes]:
    """Samples (T,) or (T, C), rate, format, codec, layout -> a file as FFmpeg writes it."""

    av = pytest.importorskip("av")

    def through_av(samples: np.ndarray, rate: int, form: str, codec: str, layout: str = "mono") -> bytes:
        file = io.BytesIO()
        with av.open(file, "w", format=form) as container:
            track = container.add_stream(codec, rate=rate, layout=layout)
            planes = np.ascontiguousarray(samples.reshape(len(samples), -1).T)
            frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
            frame.rate, frame.pts = rate, 0
            convert = av.AudioResampler(format=track.format, layout=layout, rate=rate, frame_size=track.frame_size)
            for piece in [*convert.resample(frame), *convert.resample(None)]:
                container.mux(track.encode(piece))
            container.mux(track.encode(None))
        return file.getvalue()

    return through_av


@pytest.fixture(scope="session")
def wav() -> Callable[..., bytes]:
    """Rate, samples as bytes, bytes that the header says -> a WAV file of 16 bits in one channel, by hand."""

    def wav(rate: int = RATE, content: bytes = b"\x00\x01" * 4000, says: int | None = None) -> bytes:
        size = len(content) if says is None else says
        head = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 36 + size, b"WAVE", b"fmt ", 16, 1, 1, rate, 2 * rate, 2, 16)
        return head + struct.pack("<4sI", b"data", size) + content

    return wav
