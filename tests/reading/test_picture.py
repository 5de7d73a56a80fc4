"""Pictures: every layout Pillow reads, all orientations, and bad files that say what is wrong with them."""

import io
import os
import struct
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from unimodal.errors import InputError
from unimodal.reading.picture import open_picture

BICUBIC = Image.Resampling.BICUBIC
LIMIT = 1_000_000


def scene(rows: int = 40, columns: int = 56) -> np.ndarray:
    """A smooth picture without symmetry, uint8 (rows, columns, 3)."""
    y, x = np.mgrid[:rows, :columns]
    red, green, blue = 255 * x / columns, 255 * y / rows, 127 + 100 * np.sin(x / 9 + y / 13)
    return np.stack([red, green, blue], -1).astype(np.uint8)


def pixels(source, *, limit: int = LIMIT) -> np.ndarray:
    """The whole picture at its own size, (rows, columns, 3)."""
    with open_picture(source, pixel_limit=limit) as picture:
        width, height = picture.size
        seen, box = picture.pixels((height, width), (0, 0, width, height), BICUBIC)
    assert box == (0, 0, width, height)
    assert seen.dtype == torch.uint8
    return seen.permute(1, 2, 0).numpy()


def encoded(image: Image.Image, form: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    "form, options, tolerance",
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("PPM", {}, 0),
        ("TGA", {}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("JPEG", {"quality": 95, "subsampling": 0}, 12),
        ("JPEG", {"quality": 95, "subsampling": 0, "progressive": True}, 12),
        ("JPEG2000", {}, 3),
        ("WEBP", {"quality": 95}, 40),
        ("GIF", {}, 60),
    ],
)
def test_colour_files_give_the_pixels_that_were_saved(form, options, tolerance, tmp_path):
    path = tmp_path / "picture.any"
    path.write_bytes(encoded(Image.fromarray(scene()), form, **options))
    difference = np.abs(pixels(path).astype(int) - scene())
    assert difference.max() <= tolerance


def test_the_first_frame_of_an_animation_counts():
    first, second = Image.fromarray(scene()), Image.new("RGB", (56, 40))
    for form, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})):
        data = encoded(first, form, save_all=True, append_images=[second], **options)
        assert np.abs(pixels(data).astype(int) - scene()).max() <= (60 if form == "GIF" else 0)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["PNG", "TIFF", "JPEG", "WEBP"])
def test_every_orientation_is_displayed_as_pillow_transposes_it(form, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if form == "WEBP" else {}
    data = encoded(Image.fromarray(scene()), form, exif=exif, **options)
    plain = Image.fromarray(pixels(encoded(Image.fromarray(scene()), form, **options)))
    plain.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(plain))
    with open_picture(data, pixel_limit=LIMIT) as picture:
        assert picture.orientation == orientation
        assert picture.size == expected.shape[1::-1]
    np.testing.assert_array_equal(pixels(data), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(160, 224), (159, 223)])
def test_a_cut_lies_where_the_returned_box_says_in_every_orientation(orientation, size):
    """Red and green of the scene are linear in x and y: each pixel tells where it comes from."""
    columns, rows = size[1], size[0]
    y, x = np.mgrid[:rows, :columns]
    ramp = np.stack([x, y, np.zeros_like(x)], -1).astype(np.uint8)
    shown = Image.fromarray(ramp)
    undo = {6: 8, 8: 6}.get(orientation, orientation)
    shown.getexif()[0x0112] = undo
    stored = ImageOps.exif_transpose(shown)
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(stored, "JPEG", quality=100, subsampling=0, exif=exif)
    with open_picture(data, pixel_limit=LIMIT) as picture:
        assert picture.size == (columns, rows)
        seen, (left, upper, right, lower) = picture.pixels((20, 20), (21.3, 40.2, 121.1, 120.4), BICUBIC)
    assert abs(left - 21.3) < 4
    assert abs(upper - 40.2) < 4
    step_x, step_y = (right - left) / 20, (lower - upper) / 20
    expected_x = left + (np.arange(20) + 0.5) * step_x - 0.5
    expected_y = upper + (np.arange(20) + 0.5) * step_y - 0.5
    inside = slice(2, -2)
    np.testing.assert_allclose(seen[0, 10].numpy()[inside], expected_x[inside], atol=1.6)
    np.testing.assert_allclose(seen[1, :, 10].numpy()[inside], expected_y[inside], atol=1.6)


def test_damaged_metadata_do_not_stop_a_picture():
    data = encoded(Image.fromarray(scene()), "PNG", exif=b"Exif\0\0MM\0*broken")
    np.testing.assert_array_equal(pixels(data), scene())


def test_bytes_paths_open_files_streams_and_pil_images_are_the_same_picture(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(scene()).save(path)

    class Stream(io.RawIOBase):
        """What a pipe looks like: it can be read and not rewound."""

        def __init__(self) -> None:
            self.rest = path.read_bytes()

        def read(self, size: int = -1) -> bytes:
            got, self.rest = (self.rest, b"") if size < 0 else (self.rest[:size], self.rest[size:])
            return got

    with path.open("rb") as file:
        for source in (path, str(path), path.read_bytes(), file, Stream(), Image.open(path)):
            np.testing.assert_array_equal(pixels(source), scene())
        assert not file.closed


def test_a_pil_image_that_is_given_stays_as_it_was():
    given = Image.open(io.BytesIO(encoded(Image.fromarray(scene(400, 560)), "JPEG")))
    with open_picture(given, pixel_limit=LIMIT) as picture:
        picture.pixels((20, 28), (0, 0, 560, 400), BICUBIC)
    assert (given.size, given.mode) == ((560, 400), "RGB")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_of_size(width: int, height: int) -> bytes:
    """A PNG whose header promises a size and whose data are a few bytes."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")
    )


PNG, JPEG = encoded(Image.fromarray(scene()), "PNG"), encoded(Image.fromarray(scene(400, 560)), "JPEG")

BAD_FILES = {
    "empty.jpg": (b"", r"is empty \(0 bytes\)"),
    "text.jpg": (b"these are words, not pixels" * 20, r"is not an image file.*these"),
    "cut.jpg": (JPEG[:-300], r"damaged or truncated JPEG data.*truncated"),
    "header.jpg": (JPEG[:30], r"damaged or truncated JPEG"),
    "cut.png": (PNG[: len(PNG) // 2], r"damaged or truncated PNG data"),
    "header.png": (PNG[:20], r"damaged or truncated PNG"),
    "noise.png": (PNG[: PNG.index(b"IDAT") + 4].ljust(len(PNG), b"\0"), r"damaged or truncated PNG"),
    "cut.webp": (encoded(Image.fromarray(scene()), "WEBP")[:200], r"damaged or truncated WEBP"),
    "cut.tif": (encoded(Image.fromarray(scene()), "TIFF")[:3000], r"damaged or truncated TIFF"),
    "cut.gif": (encoded(Image.fromarray(scene()), "GIF")[:900], r"damaged or truncated GIF"),
    "cut.bmp": (encoded(Image.fromarray(scene()), "BMP")[:900], r"damaged or truncated BMP"),
    "flat.png": (png_of_size(0, 7), r"PNG|has no pixels"),
    "bomb.png": (
        png_of_size(2000, 3000),
        r"2000 x 3000 = 6000000 pixels, over the limit of 1000000; raise pixel_limit",
    ),
    "huge.png": (png_of_size(60000, 60000), r"3600000000 pixels, over the limit"),
    "page.eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", r"programs, not pictures"),
    "nan.tif": (encoded(Image.fromarray(np.array([[0, np.nan]], np.float32)), "TIFF"), r"not finite"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_named_with_its_cause(name, tmp_path):
    data, cause = BAD_FILES[name]
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"{name}: .*({cause})"):
        pixels(path)


def test_a_missing_path_a_directory_and_a_special_file_are_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.png: does not exist"):
        pixels(tmp_path / "gone.png")
    with pytest.raises(InputError, match="is a directory"):
        pixels(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="pipe: is not a regular file"):
        pixels(tmp_path / "pipe")
    with pytest.raises(InputError, match="cannot be opened"):
        pixels("nul\0l.png")


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX users")
def test_a_file_without_permission_is_named(tmp_path):
    path = tmp_path / "secret.png"
    path.write_bytes(PNG)
    path.chmod(0)
    was_root = os.geteuid() == 0
    if was_root:
        os.seteuid(65534)
    try:
        with pytest.raises(InputError, match=r"secret\.png: may not be read \(permission denied\)"):
            pixels(path)
    finally:
        if was_root:
            os.seteuid(0)


@pytest.mark.parametrize(
    "source, cause",
    [
        (np.zeros((0, 5), np.uint8), r"array \(0, 5\): has no pixels"),
        (np.zeros((4, 5, 2), np.uint8), r"array \(4, 5, 2\): is not \(rows, columns\)"),
        (np.zeros(5, np.uint8), "is not "),
        (np.zeros((1, 4, 5, 3), np.uint8), "is not "),
        (np.zeros((4, 5), np.int64), "has the dtype int64; uint8, uint16"),
        (np.zeros((4, 5), complex), "has the dtype complex128"),
        (np.full((4, 5), np.nan), "not finite"),
        (np.full((4, 5), np.inf), "not finite"),
        (np.full((4, 5), 200.0), "from 200 to 200; floats must be in 0..1"),
        (np.broadcast_to(np.uint8(0), (2000, 1000)), "2000000 pixels, over the limit"),
        (Image.new("RGB", (0, 4)), "RGB image: has no pixels"),
        (Image.new("1", (2000, 1000)), "over the limit"),
        (b"", r"0 bytes: is empty"),
        (42, "int: cannot be read as a picture.*give a path"),
        (None, "NoneType: cannot be read"),
        (io.StringIO("words"), "StringIO: is a file opened as text; open it with mode 'rb'"),
    ],
)
def test_a_bad_object_is_named_with_its_cause(source, cause):
    with pytest.raises(InputError, match=cause):
        pixels(source)


def test_a_closed_file_is_an_input_error(tmp_path):
    file = (tmp_path / "a.png").open("wb+")
    file.close()
    with pytest.raises(InputError, match="cannot be read"):
        pixels(file)


def test_our_pixel_limit_counts_and_pillows_does_not(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert pixels(PNG).shape == scene().shape
    assert pixels(JPEG).shape == (400, 560, 3)


def test_pillows_warnings_stay_inside_also_when_threads_overlap():
    before = list(warnings.filters)
    data = encoded(Image.fromarray(scene()), "PNG")
    broken = data[:33] + chunk(b"acTL", struct.pack(">II", 0, 0)) + data[33:]
    with pytest.warns(UserWarning, match="Invalid APNG"):
        Image.open(io.BytesIO(broken))
    gate = threading.Barrier(4)

    def read(_: int) -> bool:
        gate.wait()
        return all(bool((pixels(broken) == scene()).all()) for _ in range(20))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read, range(4))) == [True] * 4
    assert list(warnings.filters) == before


def test_files_are_closed_also_when_they_are_bad(tmp_path):
    path = tmp_path / "cut.jpg"
    path.write_bytes(JPEG[:-300])
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        with pytest.raises(InputError):
            pixels(Path(path))
        path.write_bytes(JPEG)
        pixels(path)


def test_metadata_bombs_are_input_errors():
    text = zlib.compress(b"\0" * 80_000_000)
    bomb = PNG[:33] + chunk(b"zTXt", b"k\0\0" + text) + PNG[33:]
    with pytest.raises(InputError, match="damaged or truncated PNG"):
        pixels(bomb)
