"""Colours: each of Pillow's pixel layouts, and arrays, become the 8-bit RGB that the table promises."""

import io
import struct

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from unimodal.reading.picture import open_picture

BICUBIC = Image.Resampling.BICUBIC


def scene(rows: int = 40, columns: int = 56) -> np.ndarray:
    """A smooth picture without symmetry, uint8 (rows, columns, 3)."""
    y, x = np.mgrid[:rows, :columns]
    red, green, blue = 255 * x / columns, 255 * y / rows, 127 + 100 * np.sin(x / 9 + y / 13)
    return np.stack([red, green, blue], -1).astype(np.uint8)


def pixels(source) -> np.ndarray:
    """The whole picture at its own size, (rows, columns, 3)."""
    with open_picture(source, pixel_limit=1_000_000) as picture:
        width, height = picture.size
        seen, box = picture.pixels((height, width), (0, 0, width, height), BICUBIC)
    assert box == (0, 0, width, height)
    assert seen.dtype == torch.uint8
    return seen.permute(1, 2, 0).numpy()


def encoded(image: Image.Image, form: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def test_a_16_bit_grey_png_is_divided_by_257(tmp_path):
    values = np.arange(0, 65536, 16, dtype=np.uint16).reshape(64, 64)
    Image.fromarray(values).save(tmp_path / "deep.png")
    expected = np.rint(values.astype(np.float64) / 257)
    np.testing.assert_array_equal(pixels(tmp_path / "deep.png"), np.repeat(expected[..., None], 3, -1))
    np.testing.assert_array_equal(pixels(values)[..., 0], expected)


def test_a_16_bit_big_endian_tiff_equals_the_little_endian_one(tmp_path):
    values = np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32)
    image = Image.frombytes("I;16B", (32, 32), values.astype(">u2").tobytes())
    file = encoded(image, "TIFF")
    assert file.startswith(b"MM")
    np.testing.assert_array_equal(pixels(file), pixels(values))


@pytest.mark.parametrize(
    "values, expected",
    [
        (np.array([[0, 257, 65535]], np.int32), [0, 1, 255]),
        (np.array([[-100, 0, 100]], np.int32), [0, 128, 255]),
        (np.array([[0, 0.5, 1]], np.float32), [0, 128, 255]),
        (np.array([[-2, 0, 2]], np.float32), [0, 128, 255]),
        (np.array([[7, 7, 7]], np.float32), [0, 0, 0]),
    ],
)
def test_32_bit_tiffs_are_scaled_as_documented(values, expected, tmp_path):
    Image.fromarray(values).save(tmp_path / "deep.tif")
    np.testing.assert_array_equal(pixels(tmp_path / "deep.tif")[0, :, 0], expected)


def test_one_bit_and_grey_files_become_three_equal_planes():
    bits = (scene()[..., 2] > 127).astype(np.uint8) * 255
    one_bit = pixels(encoded(Image.fromarray(bits).convert("1"), "PNG"))
    grey = pixels(encoded(Image.fromarray(scene()[..., 2]), "PNG"))
    np.testing.assert_array_equal(one_bit, np.repeat(bits[..., None], 3, -1))
    np.testing.assert_array_equal(grey, np.repeat(scene()[..., 2:], 3, -1))


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_laid_over_white(mode):
    alpha = np.linspace(0, 255, 56).astype(np.uint8)[None].repeat(40, 0)
    image = Image.fromarray(np.dstack([scene(), alpha])).convert(mode)
    front = np.asarray(image.convert("RGB" if mode == "RGBA" else "L").convert("RGB")).astype(np.float64)
    weight = alpha[..., None] / 255
    np.testing.assert_allclose(pixels(encoded(image, "PNG")), front * weight + 255 * (1 - weight), atol=1.01)


def test_a_transparent_palette_entry_becomes_white_and_the_others_keep_their_colour():
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "L").convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    plain, clear = encoded(image, "PNG"), encoded(image, "PNG", transparency=1)
    assert pixels(plain)[0].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    assert pixels(clear)[0].tolist() == [[255, 0, 0], [255, 255, 255], [0, 0, 255]]


def test_a_colour_key_becomes_white():
    image = Image.fromarray(np.array([[[1, 2, 3], [4, 5, 6]]], np.uint8))
    assert pixels(encoded(image, "PNG", transparency=(1, 2, 3)))[0].tolist() == [[255, 255, 255], [4, 5, 6]]


def test_cmyk_jpegs_with_and_without_adobes_marker_show_the_same_colours():
    image = Image.fromarray(scene()).convert("CMYK")
    adobe = encoded(image, "JPEG", quality=100, subsampling=0)
    at = adobe.index(b"\xff\xee")
    (length,) = struct.unpack(">H", adobe[at + 2 : at + 4])
    np.testing.assert_allclose(pixels(adobe).astype(int), scene(), atol=6)
    inverted = Image.merge("CMYK", [ImageOps.invert(band) for band in image.split()])
    stored_plain = encoded(inverted, "JPEG", quality=100, subsampling=0)
    plain = stored_plain[:at] + stored_plain[at + 2 + length :]
    np.testing.assert_allclose(pixels(plain).astype(int), scene(), atol=6)


def test_lab_tiffs_are_converted_through_their_colour_space():
    lab = Image.merge("LAB", [Image.new("L", (4, 3), v) for v in (255, 128, 128)])
    assert pixels(encoded(lab, "TIFF")).min() >= 250


@pytest.mark.parametrize("array", [scene(), scene()[..., 0], scene() / 255, scene().astype(np.float16) / 255])
def test_arrays_are_read_like_the_pictures_they_show(array):
    expected = scene() if array.ndim == 3 else np.repeat(scene()[..., :1], 3, -1)
    np.testing.assert_allclose(pixels(array).astype(int), expected, atol=0 if array.dtype != np.float16 else 1)


def test_boolean_arrays_are_black_and_white_and_a_fourth_channel_is_alpha():
    assert pixels(np.array([[True, False]]))[0, :, 0].tolist() == [255, 0]
    assert pixels(np.array([[[9, 8, 7, 0], [9, 8, 7, 255]]], np.uint8))[0].tolist() == [[255] * 3, [9, 8, 7]]
