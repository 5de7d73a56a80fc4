"""Grey: pictures of one measured channel at the full depth of their file, and fitted to a working size.

Source: luminance: ITU-R BT.601, sec. 2.5.1.
Axes: Y rows, X columns.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from unimodal.errors import InputError
from unimodal.reading.geometry import ImageRecord
from unimodal.reading.intensity import Intensity
from unimodal.reading.intensity_record import IntensityRecord
from unimodal.reading.opening import source_name
from unimodal.reading.picture import open_picture
from unimodal.reading.placing import placed
from unimodal.reading.quiet import quiet

__all__ = ["Grey", "fit_grey", "is_deep_grey", "luminance", "read_grey"]

_LUMINANCE = np.array([0.299, 0.587, 0.114], np.float32)
_JPEG_NOISE = 4  # levels of 255 by which the channels of a grey picture may differ behind a lossy coder


@dataclass(frozen=True, eq=False)
class Grey:
    """One channel as measured.

    Args:
        name: How to call it in messages.
        values: (Y, X) float32, as displayed; NaN where the source marks padding.
        mode: Pixel layout of the source, as Pillow calls it, or an array's dtype.
        format: The file's format, None for a picture that was not a file.
        orientation: EXIF orientation that was obeyed.
        inverted: Whether high values are shown dark.
        window: What the source says should be shown black and white.
        spacing: (rows, columns) mm.
        modality: As DICOM calls it.
        notes: What was assumed, left out or chosen.
    """

    name: str
    values: np.ndarray
    mode: str
    format: str | None = None
    orientation: int = 1
    inverted: bool = False
    window: Intensity | None = None
    spacing: tuple[float, float] | None = None
    modality: str | None = None
    notes: tuple[str, ...] = ()


def read_grey(source: Any, *, pixel_limit: int) -> Grey:
    """A picture (see :func:`unimodal.reading.picture.open_picture`) or an array (Y, X), (Y, X, 1) or (Y, X, 3) of any
    numbers.

    Colour whose channels are equal is grey that was stored thrice. Other colour is read by its luminance, and a note
    says so.

    Raises:
        InputError: as open_picture; or an array has other axes, no numbers or values that are not finite.
    """
    if isinstance(source, np.ndarray):
        name = source_name(source)
        if source.ndim not in (2, 3) or (source.ndim == 3 and source.shape[2] not in (1, 3)):
            raise InputError(name, "is not (rows, columns), (rows, columns, 1) or (rows, columns, 3)")
        if source.dtype.kind not in "biuf":
            raise InputError(name, f"has the dtype {source.dtype}", "numbers are read")
        if source.size == 0:
            raise InputError(name, f"has no pixels ({source.shape[1]} x {source.shape[0]})")
        if source.shape[0] * source.shape[1] > pixel_limit:
            raise InputError(name, f"has {source.shape[0] * source.shape[1]} pixels, over the limit of {pixel_limit}")
        return _one_channel(Grey(name, source, f"{source.dtype} array"))
    with open_picture(source, pixel_limit=pixel_limit) as picture:
        inverted = picture.format == "TIFF" and _shown_dark(picture.image)
        notes = _pages(picture.image) if picture.format == "TIFF" else ()
        values = picture.levels()
    grey = Grey(picture.name, values, picture.mode, picture.format, picture.orientation, inverted, notes=notes)
    return _one_channel(grey)


def luminance(values: np.ndarray) -> np.ndarray:
    """0.299 red + 0.587 green + 0.114 blue of (Y, X, 3), float32."""
    return values.astype(np.float32) @ _LUMINANCE


def fit_grey(
    grey: Grey,
    intensity: Intensity,
    *,
    size: tuple[int, int] | None,
    fit: str,
    stride: int,
) -> tuple[Tensor, IntensityRecord]:
    """The part that :func:`unimodal.reading.placing.placed` chooses, cut at whole pixels, averaged or interpolated to
    its size.

    Padding takes the darkest value there is.

    Shapes:
        returns float32 (1, rows, columns), scaled.
    """
    height, width = grey.values.shape
    (rows, columns), (left, upper, right, lower) = placed(width, height, size=size, fit=fit, stride=stride)
    x0, x1, y0, y1 = _whole(left, right, width) + _whole(upper, lower, height)
    part, notes = grey.values[y0:y1, x0:x1], grey.notes
    padding = np.isnan(part)
    if padding.any():
        darkest = float((np.nanmax if grey.inverted else np.nanmin)(grey.values))
        part, notes = np.where(padding, np.float32(darkest), part), (*notes, f"{int(padding.sum())} pixels are padding")
    data = torch.from_numpy(np.array(part, np.float32, order="C"))[None, None]
    if data.shape[2:] != (rows, columns):
        data = F.interpolate(data, (rows, columns), mode="bilinear", antialias=True)
    record = ImageRecord(
        width=width,
        height=height,
        size=(rows, columns),
        scale=((x1 - x0) / columns, (y1 - y0) / rows),
        offset=(float(x0), float(y0)),
        stride=stride,
        mode=grey.mode,
        format=grey.format,
        orientation=grey.orientation,
    )
    return intensity.apply(data[0]), IntensityRecord(record, intensity, grey.spacing, grey.modality, notes)


def is_deep_grey(path: Path) -> bool:
    """Whether a picture file has one channel of more than 8 bits, by its header."""
    with suppress(Exception), quiet(), Image.open(path) as image:
        return image.mode in ("I", "F") or image.mode.startswith("I;16")
    return False


def _one_channel(grey: Grey) -> Grey:
    values, notes = grey.values, grey.notes
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    elif values.ndim == 3:
        far = float(np.ptp(values.astype(np.float32), axis=2).max())
        if far > (_JPEG_NOISE if values.dtype == np.uint8 else 0):
            notes = (*notes, "its colours were read by their luminance")
        values = luminance(values) if far else values[:, :, 0]
    values = values.astype(np.float32)
    if not np.isfinite(values).all():
        raise InputError(grey.name, f"has {int((~np.isfinite(values)).sum())} pixels that are not finite")
    return Grey(**{**grey.__dict__, "values": values, "notes": notes})


def _shown_dark(image: Image.Image) -> bool:
    """Whether a TIFF's zero is white and Pillow did not turn its values round."""
    with suppress(Exception):
        return image.mode not in ("1", "L", "P") and getattr(image, "tag_v2", {}).get(262) == 0
    return False


def _pages(image: Image.Image) -> tuple[str, ...]:
    """A note if a TIFF holds several pictures; damaged directories behind the first one say nothing."""
    with suppress(Exception):
        count = getattr(image, "n_frames", 1)
        return (f"the first of {count} pictures in the file was read",) if count > 1 else ()
    return ()


def _whole(low: float, high: float, length: int) -> tuple[int, int]:
    cells = min(max(1, round(high - low)), length)
    begin = min(max(0, round(low)), length - cells)
    return begin, begin + cells
