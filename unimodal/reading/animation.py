"""Animation: how long each picture of an animated GIF, WebP or PNG is shown, from the file's blocks alone.

Source: GIF89a (CompuServe 1990), sections 20, 23 and 26; WebP (RFC 9649), section 2.7.1.1; APNG (PNG third edition,
W3C 2025), sections 11.3.6.1 and 11.3.6.2.
"""

import struct
from collections.abc import Callable, Iterator
from typing import IO

__all__ = ["shown_for"]

_SHORTEST, _INSTEAD = 0.011, 0.1  # browsers show pictures of less than 11 ms, which hardly anyone means, for 100 ms


def shown_for(file: IO[bytes], *, limit: int | None = None) -> list[float]:
    """Seconds a picture, in order; a still picture has one entry at most, and what is no such file has none.

    Nothing is decoded.

    Args:
        file: A binary stream that can be sought.
        limit: Bytes to look at, or None for all.

    Raises:
        ValueError: the file ends within a picture.
    """
    file.seek(0)
    walk = _walk_of(file.read(16))
    if walk is None:
        return []
    shown: list[float] = []
    try:
        for seconds in walk(file):
            shown.append(seconds if seconds >= _SHORTEST else _INSTEAD)
            if limit is not None and file.tell() > limit:
                break
    except (struct.error, IndexError, ValueError):
        raise ValueError(f"it ends within picture {len(shown)}") from None
    return shown


def _walk_of(head: bytes) -> Callable[[IO[bytes]], Iterator[float]] | None:
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return _gif
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return _webp
    return _apng if head[:8] == b"\x89PNG\r\n\x1a\n" else None


def _gif(file: IO[bytes]) -> Iterator[float]:
    """Extensions (21), of which the graphic control (F9) has the delay of the image (2C) behind it, until 3B."""
    file.seek(10)
    file.seek(13 + _palette(file.read(1)[0]))
    delay = 0.0
    while (kind := file.read(1)) in (b"\x21", b"\x2c"):
        if kind == b"\x21":
            label = file.read(1)
            if label == b"\xf9":
                delay = struct.unpack_from("<H", file.read(5), 2)[0] / 100
            _skip_blocks(file)
        else:
            flags = file.read(9)[8]
            file.seek(_palette(flags) + 1, 1)
            _skip_blocks(file)
            yield delay
            delay = 0.0


def _palette(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _skip_blocks(file: IO[bytes]) -> None:
    while (size := file.read(1)[0]) != 0:
        file.seek(size, 1)


def _webp(file: IO[bytes]) -> Iterator[float]:
    """A chunk ANMF an image of an animation; its duration in ms are bytes 12 to 14."""
    length = file.seek(0, 2)
    file.seek(12)
    while len(head := file.read(8)) == 8:
        name, size = struct.unpack("<4sI", head)
        begin = _within(file.tell(), size, length)
        if name == b"ANMF":
            yield int.from_bytes(file.read(16)[12:15], "little") / 1000
        elif name in (b"VP8 ", b"VP8L"):
            yield 0.0
        file.seek(begin + size + size % 2)


def _apng(file: IO[bytes]) -> Iterator[float]:
    """A chunk fcTL an image of an animation, with its delay as a fraction of seconds; without any, one still IDAT."""
    length = file.seek(0, 2)
    file.seek(8)
    frames = still = 0
    while len(head := file.read(8)) == 8:
        size, name = struct.unpack(">I4s", head)
        begin = _within(file.tell(), size, length)
        if name == b"fcTL":
            over, under = struct.unpack_from(">HH", file.read(26), 20)
            frames += 1
            yield over / (under or 100)
        elif name == b"IDAT":
            still += 1
        file.seek(begin + size + 4)
    if still and not frames:
        yield 0.0


def _within(begin: int, size: int, length: int) -> int:
    if begin + size > length:
        raise ValueError("a chunk ends behind the file")
    return begin
