"""Pictures with any number of bands, against files that are written here tag by tag and by Pillow."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from unimodal.errors import InputError
from unimodal.reading.tiff_bands import read_tiff_bands

KINDS = {"u": 1, "i": 2, "f": 3}


def written(cube, *, order="<", apart=False, deflate=False, predictor=False, tile=0, big=False, compression=None):
    """A TIFF file of one page, as the specification says it."""
    rows, columns, bands = cube.shape
    values = cube.astype(cube.dtype.newbyteorder(order))
    planes = [values[..., i : i + 1] for i in range(bands)] if apart else [values]
    pieces = []
    for plane in planes:
        step = tile or 3  # rows a strip
        for y in range(0, rows, step):
            for x in range(0, columns, tile or columns):
                piece = plane[y : y + step, x : x + (tile or columns)]
                if tile:
                    piece = np.pad(piece, [(0, tile - piece.shape[0]), (0, tile - piece.shape[1]), (0, 0)])
                if predictor:
                    piece = np.diff(piece, axis=1, prepend=piece[:, :1] * 0).astype(piece.dtype)
                raw = piece.tobytes()
                pieces.append(zlib.compress(raw) if deflate else raw)
    word, head = ("Q", 16) if big else ("I", 8)
    at, offsets = head, []
    for piece in pieces:
        offsets.append(at)
        at += len(piece)
    code = compression or (8 if deflate else 1)
    tags = {
        256: [columns], 257: [rows], 258: [cube.dtype.itemsize * 8] * bands, 259: [code], 262: [1], 277: [bands],
        284: [2 if apart else 1], 317: [2 if predictor else 1], 339: [KINDS[cube.dtype.kind]] * bands,
    }  # fmt: skip
    tags |= {322: [tile], 323: [tile], 324: offsets, 325: list(map(len, pieces))} if tile else {
        273: offsets, 278: [3], 279: list(map(len, pieces))
    }  # fmt: skip
    width, count = struct.calcsize(word), "Q" if big else "H"
    after = at + struct.calcsize(count) + len(tags) * (20 if big else 12) + width
    entries, extra = b"", b""
    for tag in sorted(tags):
        raw = struct.pack(f"{order}{len(tags[tag])}I", *tags[tag])
        if len(raw) > width:
            place, extra = struct.pack(f"{order}{word}", after + len(extra)), extra + raw
        else:
            place = raw.ljust(width, b"\0")
        entries += struct.pack(f"{order}HH{word}", tag, 4, len(tags[tag])) + place
    mark = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}H", 43 if big else 42)
    mark += struct.pack(f"{order}HHQ", 8, 0, at) if big else struct.pack(f"{order}I", at)
    return mark + b"".join(pieces) + struct.pack(f"{order}{count}", len(tags)) + entries + bytes(width) + extra


def scene(dtype="u2", shape=(7, 10, 6)):
    return (np.random.default_rng(0).random(shape) * 200).astype(dtype)


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_every_kind_of_number_is_read(dtype, order):
    cube = scene(dtype)
    found = read_tiff_bands(written(cube, order=order), "a.tif")
    np.testing.assert_array_equal(found, cube)
    assert found.dtype == np.dtype(dtype)


@pytest.mark.parametrize("settings", [
    {"apart": True}, {"deflate": True}, {"deflate": True, "predictor": True}, {"tile": 16}, {"tile": 4, "apart": True},
    {"big": True}, {"big": True, "tile": 4, "deflate": True, "order": ">"}, {"predictor": True, "order": ">"},
])  # fmt: skip
def test_every_layout_gives_the_same_picture(settings):
    cube = scene()
    np.testing.assert_array_equal(read_tiff_bands(written(cube, **settings), "a.tif"), cube)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_pages_are_bands(compression):
    cube = scene("u1")
    pages = [Image.fromarray(cube[..., i]) for i in range(6)]
    file = io.BytesIO()
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:], compression=compression)
    np.testing.assert_array_equal(read_tiff_bands(file.getvalue(), "a.tif"), cube)


def test_an_overview_of_another_size_is_passed_over():
    file = io.BytesIO()
    Image.fromarray(scene("u1")[..., 0]).save(
        file, "TIFF", save_all=True, append_images=[Image.fromarray(scene("u1", (3, 5, 1))[..., 0])]
    )
    assert read_tiff_bands(file.getvalue(), "a.tif").shape == (7, 10, 1)


def test_what_is_not_read_is_told():
    with pytest.raises(InputError, match="a.tif: its compression .5. is not read for 6 bands"):
        read_tiff_bands(written(scene(), compression=5), "a.tif")
    with pytest.raises(InputError, match="predictor"):
        read_tiff_bands(written(scene("f4"), predictor=True), "a.tif")
