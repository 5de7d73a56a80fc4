"""TIFF bands: pictures with any number of samples a pixel, or one band a page, as rows x columns x bands.

Source: Adobe 1992, "TIFF Revision 6.0"; 64-bit offsets as in BigTIFF. Pillow reads at most four samples a pixel.
Axes: Y rows, X columns, B bands.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from unimodal.errors import InputError

__all__ = ["read_tiff_bands", "tiff_pages"]

_SIZES = {1: "B", 2: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 11: "f", 12: "d", 16: "Q", 17: "q", 18: "Q"}
_KINDS = {1: "u", 2: "i", 3: "f"}
_PLAIN, _DEFLATE = 1, (8, 32946)
_MOST_PAGES = 10_000


def tiff_pages(content: Any) -> Iterator[dict[int, tuple[Any, ...]]]:
    """The tags of each page; ``content`` is bytes or anything that slices to bytes.

    Raises:
        struct.error, IndexError, KeyError: the file is damaged.
    """
    order = "<" if content[:2] == b"II" else ">"
    big = struct.unpack(f"{order}H", content[2:4])[0] == 43
    word, count, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    width = struct.calcsize(word)
    at, seen = struct.unpack(f"{order}{word}", content[8:16] if big else content[4:8])[0], set()
    while at and at not in seen and len(seen) < _MOST_PAGES:
        seen.add(at)
        head = struct.calcsize(count)
        entries = struct.unpack(f"{order}{count}", content[at : at + head])[0]
        tags = {}
        for i in range(entries):
            place = at + head + i * entry
            tag, kind = struct.unpack(f"{order}HH", content[place : place + 4])
            many = struct.unpack(f"{order}{word}", content[place + 4 : place + 4 + width])[0]
            if kind not in _SIZES:
                continue
            form = f"{order}{many}{_SIZES[kind]}"
            length, inline = struct.calcsize(form), place + 4 + width
            if length > width:
                inline = struct.unpack(f"{order}{word}", content[inline : inline + width])[0]
            tags[tag] = struct.unpack(form, content[inline : inline + length])
        yield tags
        after = at + head + entries * entry
        at = struct.unpack(f"{order}{word}", content[after : after + width])[0]


def read_tiff_bands(content: bytes, name: str) -> np.ndarray:
    """All bands of a file: of its first page, and of further pages of the same size.

    Strips or tiles, bands together or apart, 8 to 64 bits, whole, signed or floating, plain or deflated; of other
    compressions those of pages with one band, as Pillow reads them. Smaller pages (overviews, masks) are passed over.

    Shapes:
        returns (Y, X, B).

    Raises:
        InputError: the compression or the kind of numbers is not read.
    """
    order = "<" if content[:2] == b"II" else ">"
    pages = list(tiff_pages(content))
    if not pages:
        raise InputError(name, "is a TIFF without pictures")
    first, bands = pages[0], []
    for number, tags in enumerate(pages):
        same = all(tags.get(tag, (1,)) == first.get(tag, (1,)) for tag in (256, 257, 339))
        if not same or (number and tags.get(254, (0,))[0] & 5):
            continue
        compression, samples = tags.get(259, (_PLAIN,))[0], tags.get(277, (1,))[0]
        if compression != _PLAIN and compression not in _DEFLATE:
            if samples > 1:
                cause = f"its compression ({compression}) is not read for {samples} bands"
                raise InputError(name, cause, "save it without compression or with deflate")
            bands.append(_by_pillow(content, number))
            continue
        bands.append(_page(content, tags, order, name))
    return np.concatenate(bands, 2)


def _page(content: bytes, tags: dict[int, tuple[Any, ...]], order: str, name: str) -> np.ndarray:
    columns, rows, samples = tags[256][0], tags[257][0], tags.get(277, (1,))[0]
    bits, kind = set(tags.get(258, (1,))), tags.get(339, (1,))[0]
    if len(bits) > 1 or not bits <= {8, 16, 32, 64} or kind not in _KINDS:
        raise InputError(name, f"has samples of {sorted(bits)} bits of kind {kind}", "save it as 8, 16, 32 or 64 bits")
    size = bits.pop() // 8
    if not 0 < rows * columns * samples * size <= 1 << 40:
        raise InputError(name, f"says it has {rows} x {columns} pixels of {samples} bands")
    dtype = np.dtype(f"{order}{_KINDS[kind]}{size}")
    apart, predictor = tags.get(284, (1,))[0] == 2, tags.get(317, (1,))[0]
    if predictor not in (1, 2) or (predictor == 2 and kind == 3):
        raise InputError(name, f"its predictor ({predictor}) is not read", "save it without compression")
    tiled = 322 in tags
    wide, high = (tags[322][0], tags[323][0]) if tiled else (columns, min(tags.get(278, (rows,))[0], rows))
    offsets, counts = (tags[324], tags[325]) if tiled else (tags[273], tags[279])
    across, down, own = -(-columns // wide), -(-rows // high), 1 if apart else samples
    planes = samples if apart else 1
    if len(offsets) < across * down * planes:
        raise InputError(name, f"is damaged ({len(offsets)} pieces of {across * down * planes})")
    out = np.empty((rows, columns, samples), dtype.newbyteorder("="))
    for i in range(across * down * planes):
        plane, (y, x) = i // (across * down), divmod(i % (across * down), across)
        raw = content[offsets[i] : offsets[i] + counts[i]]
        raw = zlib.decompress(raw) if tags.get(259, (1,))[0] != _PLAIN else raw
        tall = high if tiled else min(high, rows - y * high)
        values = np.frombuffer(raw, dtype, tall * wide * own).reshape(tall, wide, own)
        values = np.cumsum(values, 1, dtype=dtype.newbyteorder("=")) if predictor == 2 else values
        part = out[y * high : y * high + tall, x * wide : (x + 1) * wide, plane : plane + own]
        part[:] = values[: part.shape[0], : part.shape[1]]
    return out


def _by_pillow(content: bytes, page: int) -> np.ndarray:
    from PIL import Image

    with Image.open(io.BytesIO(content)) as picture:
        picture.seek(page)
        values = np.asarray(picture)
    return values[..., None] if values.ndim == 2 else values
