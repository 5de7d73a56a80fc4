"""Sound files: any path, bytes, file object or array of samples as something that gives its samples in blocks.

WAV, FLAC, Ogg, AIFF and their kin go through soundfile (libsndfile). What it does not know (AAC, ALAC, WMA, Opus in
WebM, the sound of a video) and MP3 go through PyAV, see :mod:`unimodal.reading.sound_container`.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import IO, Any, cast

import numpy as np
import torch

from unimodal.errors import InputError, MissingExtraError
from unimodal.reading.opening import open_stream, source_name, told
from unimodal.reading.sound_container import container_form, open_container
from unimodal.reading.sound_stream import SoundStream

__all__ = ["open_sound"]

BLOCK = 1 << 20  # values that are decoded at a time
ALSO = "(samples, rate_hz)"
_BOTH = ("wav", "flac", "ogg", "aiff", "caf", "mp3", None)  # formats that either library decodes
_UNKNOWN = ("not recognised", "unimplemented", "unknown format", "not implemented", "unsupported")
_PROMISED = re.compile(r"^\s*(?:data|SSND|Data Size)\s*:\s*(\d+) \(should be (\d+)\)", re.MULTILINE)


@contextmanager
def open_sound(source: Any) -> Iterator[SoundStream]:
    """Open a sound and read its header; samples are decoded when they are asked for. Safe from several threads.

    Args:
        source: A path, encoded bytes, a binary file object, or samples with their rate in Hz: a pair
            ``(array, rate_hz)`` or a mapping with ``array`` and ``sampling_rate``. Arrays are (samples,) or
            (samples, channels), floats as they are or whole numbers of full scale (int16, int32, uint8 ...).

    Raises:
        InputError: it cannot be opened, is no sound, has no samples, no rate, or says more than it holds.
        MissingExtraError: neither library that could decode it is installed.
    """
    samples = _samples(source)
    if samples is not None:
        yield samples
        return
    with ExitStack() as files:
        name = source_name(source)
        file = open_stream(source, files, what="a sound", also=ALSO)
        try:
            file.seek(0)
            head = file.read(4096)
            form = container_form(head, file)
            file.seek(0)
        except (OSError, ValueError) as error:
            raise InputError(name, f"cannot be read ({told(error)})") from error
        if not head:
            raise InputError(name, "is empty (0 bytes)")
        yield _opened(file, name, form, head, files)


def _opened(file: IO[bytes], name: str, form: str | None, head: bytes, files: ExitStack) -> SoundStream:
    absent: list[MissingExtraError] = []
    for through in (_through_av, _through_soundfile) if form == "mp3" else (_through_soundfile, _through_av):
        try:  # libsndfile's MP3 decoder writes to the terminal, so it comes second
            file.seek(0)
            if (stream := through(file, name, form, files)) is not None:
                return stream
        except MissingExtraError as error:
            absent.append(error)
    if absent:
        raise absent[0] if form in _BOTH else absent[-1]
    raise InputError(name, f"is not a sound file (it begins with {head[:8]!r})", "WAV, FLAC, OGG, MP3 ... are read")


def _through_av(file: IO[bytes], name: str, form: str | None, files: ExitStack) -> SoundStream | None:
    return None if form is None else open_container(file, name, form, files)


def _through_soundfile(file: IO[bytes], name: str, form: str | None, files: ExitStack) -> SoundStream | None:
    """The file as libsndfile reads it, None if it does not know the format."""
    try:
        import soundfile
    except (ImportError, OSError) as error:
        raise MissingExtraError("soundfile", "audio") from error
    try:
        sound = files.enter_context(soundfile.SoundFile(cast(Any, file)))
    except Exception as error:  # of several kinds
        if any(word in str(error).lower() for word in _UNKNOWN):
            return None
        raise InputError(name, f"damaged or truncated sound file ({_said(error)})") from error
    if sound.samplerate < 1:
        raise InputError(name, f"says a rate of {sound.samplerate} Hz", "a sound has at least one sample a second")
    if sound.frames < 1 and form == "wav" and file.seek(0, 2) > 1000:
        return None  # a recorder that was cut off leaves a length of 0 in the header; FFmpeg reads on to the end
    if sound.frames < 1:
        raise InputError(name, f"has no samples (an empty {sound.format} file)")
    for has, says in ((int(b), int(a)) for a, b in _PROMISED.findall(sound.extra_info)):
        if says < 0x7FFFF000 and has < 0.99 * says:  # streamed files say 0 or a number without end
            raise InputError(name, f"is truncated: {has} of {says} bytes of samples are there")

    def blocks(start: int, count: int) -> Iterator[np.ndarray]:
        try:
            skip = 0 if sound.seekable() else start  # a few codings can be read from the beginning only
            if sound.seekable():
                sound.seek(start)
            while count > 0:
                wanted = min(skip or count, max(1, BLOCK // sound.channels))
                block = sound.read(wanted, dtype="float32", always_2d=True)
                if not len(block):
                    return
                if skip:
                    skip -= len(block)
                    continue
                yield block
                count -= len(block)
        except Exception as error:
            raise InputError(name, f"damaged or truncated {sound.format} data ({_said(error)})") from error

    return SoundStream(name, sound.format, sound.samplerate, sound.channels, sound.frames, True, blocks)


def _said(error: Exception) -> str:
    """libsndfile's own words, without the stream's address in front of them."""
    return str(getattr(error, "error_string", told(error))).rstrip(".")


def _samples(source: Any) -> SoundStream | None:
    """Samples in memory as a stream; None for what is to be opened."""
    if isinstance(source, Mapping):
        if "array" not in source or "sampling_rate" not in source:
            raise InputError("mapping", f"has the keys {', '.join(map(str, source))}", "give array and sampling_rate")
        given, rate = source["array"], source["sampling_rate"]
    elif isinstance(source, tuple | list) and len(source) == 2:
        given, rate = source
    elif isinstance(source, np.ndarray | torch.Tensor | tuple | list):
        raise InputError(source_name(source), "has no sampling rate", f"give {ALSO}")
    else:
        return None
    try:
        array = given.detach().cpu().numpy() if isinstance(given, torch.Tensor) else np.asarray(given)
    except Exception as error:  # ragged lists, bfloat16 tensors
        raise InputError("samples", f"cannot be made an array ({told(error)})") from error
    name = source_name(array)
    if array.ndim not in (1, 2):
        raise InputError(name, f"has {array.ndim} axes", "samples are (samples,) or (samples, channels)")
    if not array.size:
        raise InputError(name, "has no samples")
    table = array[:, None] if array.ndim == 1 else array
    if table.shape[1] > 64 and table.shape[1] > table.shape[0]:
        raise InputError(name, f"has {table.shape[1]} channels", "samples are (samples, channels): transpose it")
    bad_rate = isinstance(rate, bool) or not isinstance(rate, int | float | np.integer | np.floating)
    if bad_rate or not 1 <= rate < 1e9 or int(rate) != rate:
        raise InputError(name, f"comes with the sampling rate {rate!r}", "give a whole number of Hz from 1 on")
    if table.dtype.kind not in "iuf" or table.dtype in (np.int64, np.uint64):
        raise InputError(name, f"holds {table.dtype} values", "give floats, or int16, int32, int8, uint8 samples")

    def blocks(start: int, count: int) -> Iterator[np.ndarray]:
        yield SoundStream.floats(table[start : start + count])

    return SoundStream(name, f"{table.dtype} array", int(rate), table.shape[1], len(table), True, blocks)
