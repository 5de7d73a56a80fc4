"""Sound containers: AAC, ALAC, WMA, MP3 and the sound of videos, decoded by FFmpeg through PyAV.

FFmpeg is told which format a file has, by its first bytes: left to guess, it would take text for a playlist and open
the files and addresses that it names.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from typing import IO, Any

import numpy as np

from unimodal.errors import InputError, MissingExtraError
from unimodal.reading.opening import told
from unimodal.reading.sound_stream import SoundStream

__all__ = ["container_form", "open_container"]

# First bytes, where they stand, and FFmpeg's name of the format.
_MAGIC = (
    (4, b"ftyp", "mov"),
    (4, b"moov", "mov"),
    (4, b"mdat", "mov"),
    (4, b"wide", "mov"),
    (0, b"\x1a\x45\xdf\xa3", "matroska"),
    (0, b"OggS", "ogg"),
    (0, b"RIFF", "wav"),
    (0, b"fLaC", "flac"),
    (0, b"FORM", "aiff"),
    (0, b"caff", "caf"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (0, b"\x0b\x77", "ac3"),
    (0, b"#!AMR", "amr"),
    (0, b"wvpk", "wv"),
    (0, b"TTA1", "tta"),
    (0, b"MAC ", "ape"),
    (0, b"FLV\x01", "flv"),
    (0, b"\x00\x00\x01\xba", "mpeg"),
)
_KILOBITS = (  # a second, of layer III: of MPEG-1, and of its halves and quarters of sampling rates
    (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
)
PREROLL = 0.5  # s; a decoder that starts within a stream needs some packets before it is right
_PROMISING = ("mov", "flac", "wav", "aiff", "caf")  # formats that say how long each track is


def container_form(head: bytes, file: IO[bytes]) -> str | None:
    """FFmpeg's name of a file's format by its first bytes, None if they are those of no format with sound.

    An ID3 tag in front is skipped.
    """
    if head[:3] == b"ID3" and len(head) > 9:
        file.seek(10 + _tag_length(head))
        behind = file.read(16)
        found = container_form(behind, file) if behind[:3] != b"ID3" else None
        return found or "mp3"
    if len(head) > 11 and head[:4] == b"RIFF" and head[8:12] != b"WAVE":
        return "avi" if head[8:12] == b"AVI " else None
    for at, magic, form in _MAGIC:
        if head[at : at + len(magic)] == magic:
            return form
    if head[:1] == head[188:189] == head[376:377] == b"G":
        return "mpegts"
    if len(head) > 3 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "aac"
    return "mp3" if _mpeg_frame(head) or _mpeg_stream(head) else None


def open_container(file: IO[bytes], name: str, form: str, files: ExitStack) -> SoundStream:
    """The first sound track of a file.

    Args:
        file: It, at its beginning.
        name: How messages call it.
        form: See :func:`container_form`.
        files: Closes what is opened here.

    Raises:
        InputError: the file is damaged, or has no sound track, or one without samples.
        MissingExtraError: PyAV is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise MissingExtraError("av", "video") from error
    try:
        exact = form in _PROMISING or (form == "mp3" and _counted(file))
        container: Any = files.enter_context(av.open(file, format=form, metadata_errors="ignore"))
        tracks = container.streams.audio
    except Exception as error:
        raise InputError(name, _cause(error, form, "file")) from error
    if not tracks:
        kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
        raise InputError(name, f"has no sound track (it holds {kinds})", "give a file with sound")
    track = tracks[0]
    try:
        decoded = container.decode(track)
        first = next(decoded, None)
        rate, channels = (first.sample_rate, first.layout.nb_channels) if first is not None else (0, 0)
        seconds = _seconds(container, track)
    except Exception as error:
        raise InputError(name, _cause(error, form, "data")) from error
    if first is None:
        raise InputError(name, "has no samples (an empty sound track)")
    if rate < 1 or channels < 1:
        raise InputError(name, f"says a rate of {rate} Hz and {channels} channels")
    opening = [chain([first], decoded)]  # the frames from the beginning on, which can be had once

    def blocks(start: int, count: int) -> Iterator[np.ndarray]:
        try:
            if start == 0 and opening:
                frames, place = opening.pop(), 0
            else:
                opening.clear()
                before = max(0.0, start / rate - PREROLL)
                container.seek(int(before / track.time_base) + (track.start_time or 0), stream=track)
                frames, place = container.decode(track), None
            for frame in frames:
                if frame.sample_rate != rate or frame.layout.nb_channels != channels:
                    raise InputError(name, "changes its sampling rate or channels half way")
                if place is None:
                    begin = (track.start_time or 0) * track.time_base
                    place = 0 if frame.pts is None else max(0, round((frame.pts * frame.time_base - begin) * rate))
                samples_TC = _table(frame, channels)
                yield samples_TC[max(0, start - place) : max(0, start + count - place)]
                place += len(samples_TC)
                if place >= start + count:
                    return
        except InputError:
            raise
        except Exception as error:
            raise InputError(name, _cause(error, form, "data")) from error

    total = round(seconds * rate) if seconds is not None else None
    return SoundStream(name, form.upper(), rate, channels, total, exact and track.duration is not None, blocks)


def _mpeg_frame(head: bytes) -> int:
    """The length of the frame of MPEG audio that begins here; 0 if none does, 1 if it is one of layer II.

    That is synchronisation, then a version, a layer, a bit rate and a sampling rate that exist.
    """
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0 or head[1] & 0x18 == 8:
        return 0
    layer, rate, frequency, padding = head[1] & 6, head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if layer not in (2, 4) or rate in (0, 15) or frequency == 3:
        return 0
    if layer == 4:
        return 1
    version = {3: 0, 2: 1, 0: 2}[head[1] >> 3 & 3]
    hertz = (44_100, 48_000, 32_000)[frequency] >> version
    return (72_000 if version else 144_000) * _KILOBITS[min(version, 1)][rate - 1] // hertz + padding


def _mpeg_stream(head: bytes) -> bool:
    """Whether frames follow one another somewhere: recorded streams begin within a frame."""
    for begin in range(len(head) - 4):
        if head[begin] == 0xFF and (length := _mpeg_frame(head[begin : begin + 4])) > 1:
            following = head[begin + length : begin + length + 4]
            if _mpeg_frame(following) > 1 and following[1] == head[begin + 1]:
                return True
    return False


def _table(frame: Any, channels: int) -> np.ndarray:
    """A decoded frame as (T, C) float32."""
    values = frame.to_ndarray()
    return SoundStream.floats(values.T if frame.format.is_planar else values.reshape(-1, channels))


def _cause(error: Exception, form: str, what: str) -> str:
    """What FFmpeg's error says about a file."""
    if type(error).__name__ in ("DecoderNotFoundError", "ValueError", "NotImplementedError"):
        return f"has {form} {what} of a coding that cannot be read ({told(error)})"
    return f"damaged or truncated {form} {what} ({told(error)})"


def _seconds(container: Any, track: Any) -> float | None:
    if track.duration is not None:
        return float(track.duration * track.time_base)
    return None if container.duration is None else container.duration / 1e6


def _counted(file: IO[bytes]) -> bool:
    """Whether an MP3 file begins with a count of its frames; its length is a guess from its bit rate otherwise."""
    file.seek(0)
    head = file.read(10)
    file.seek(10 + _tag_length(head) if head[:3] == b"ID3" and len(head) > 9 else 0)
    begin = file.read(400)
    file.seek(0)
    return b"Xing" in begin or b"Info" in begin


def _tag_length(head: bytes) -> int:
    return sum((byte & 0x7F) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))
