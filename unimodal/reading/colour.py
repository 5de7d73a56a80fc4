"""Colour: any of Pillow's pixel layouts, and arrays, as 8-bit grey or RGB.

=====================  =================================================================================
1-bit, palette, CMYK   converted; JPEG CMYK without Adobe's marker is taken as not inverted
alpha, colour keys     laid over white
16-bit                 v / 257, rounded (16-bit colour PNG: Pillow keeps the high byte)
32-bit integer         like 16-bit when all values are in 0..65535, else minimum..maximum onto 0..255
32-bit float           times 255 when all values are in 0..1, else minimum..maximum onto 0..255
float array            must be in 0..1; times 255
=====================  =================================================================================
"""

import numpy as np
from PIL import Image, ImageCms, ImageOps

from unimodal.errors import InputError

__all__ = ["array_to_picture", "eight_bit_array", "to_eight_bit"]


def array_to_picture(array: np.ndarray, name: str, pixel_limit: int) -> Image.Image:
    """Mode L, RGB or RGBA.

    Raises:
        InputError: axes, dtype or values are not those of a picture, or there are none or too many pixels.
    """
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise InputError(name, "is not (rows, columns), (rows, columns, 3) or (rows, columns, 4)")
    return Image.fromarray(np.ascontiguousarray(eight_bit_array(array, name, pixel_limit)))


def eight_bit_array(array: np.ndarray, name: str, pixel_limit: int) -> np.ndarray:
    """uint8 of (rows, columns, ...), by the table on top of this file.

    Raises:
        InputError: dtype or values are not those of a picture, or there are none or too many pixels.
    """
    if array.size == 0:
        raise InputError(name, f"has no pixels ({array.shape[1]} x {array.shape[0]})")
    if array.shape[0] * array.shape[1] > pixel_limit:
        raise InputError(name, f"has {array.shape[0] * array.shape[1]} pixels, over the limit of {pixel_limit}")
    if array.dtype == bool:
        return array * np.uint8(255)
    if array.dtype == np.uint16:
        return _of_16_bit(array)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise InputError(name, "has values that are not finite")
        if array.min() < 0 or array.max() > 1:
            raise InputError(name, f"has values from {array.min():g} to {array.max():g}", "floats must be in 0..1")
        return np.rint(array.astype(np.float32) * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise InputError(name, f"has the dtype {array.dtype}", "uint8, uint16, bool and float are read")
    return array


def to_eight_bit(image: Image.Image) -> Image.Image:
    """Mode L or RGB, by the table on top of this file.

    Raises:
        InputError: a float picture has values that are not finite.
    """
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(_of_wide(np.asarray(image), image.mode))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    if image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        image = Image.merge("CMYK", [ImageOps.invert(band) for band in image.split()])
    if image.mode == "LAB":
        return _lab(image)
    if image.mode in ("L", "RGB"):
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def _of_16_bit(values: np.ndarray) -> np.ndarray:
    return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _of_wide(values: np.ndarray, mode: str) -> np.ndarray:
    if mode == "F" and not np.isfinite(values).all():
        raise InputError("", "has values that are not finite")
    low, high = values.min(), values.max()
    if mode.startswith("I") and low >= 0 and high <= 65535:
        return _of_16_bit(values)
    if mode == "F" and low >= 0 and high <= 1:
        return np.rint(values * 255).astype(np.uint8)
    rising = values.astype(np.float64) - float(low)
    return np.rint(rising * 255 / (float(high) - float(low) or 1.0)).astype(np.uint8)


def _lab(image: Image.Image) -> Image.Image:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    done = ImageCms.applyTransform(image, ImageCms.buildTransform(lab, srgb, "LAB", "RGB"))
    assert done is not None
    return done
