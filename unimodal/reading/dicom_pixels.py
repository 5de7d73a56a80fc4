"""DICOM pixels: the stored values of one object as what they measure, NaN where they are padding.

Source: DICOM PS3.3 (C.7.5.1.1.2 pixel padding, C.11.1 modality LUT, C.7.6.16.2.9 pixel value transformation) and PS3.5
(8.1.1 bits stored); decoded by pydicom with Pillow and gdcm.
Axes: F frames, Y rows, X columns.
"""

from typing import Any

import numpy as np

from unimodal.errors import InputError
from unimodal.reading.dicom import told_modality
from unimodal.reading.isolated_decoder import decode_isolated
from unimodal.reading.opening import told
from unimodal.reading.quiet import quiet

__all__ = ["frame_values"]

_DATA = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_LINE, _PER_FRAME = "PixelValueTransformationSequence", "PerFrameFunctionalGroupsSequence"


def frame_values(data: Any, name: str, *, pixel_limit: int) -> np.ndarray:
    """Stored values by slope and intercept, or by the modality LUT, of each frame; NaN where they are padding.

    Pixels beyond the bits stored are dropped and signs extended. MONOCHROME1 says how values are shown, not what they
    are, so nothing is inverted here. Palettes and luminance-chrominance pictures become red, green, blue.

    Shapes:
        returns float32 (F, Y, X), or (F, Y, X, 3) of a colour object.

    Raises:
        InputError: there are no pixel data, too many, too few, or no decoder for them.
    """
    with quiet():
        try:
            kind = told_modality(data) or "unknown"
            rows, columns, count = int(data.Rows), int(data.Columns), int(data.get("NumberOfFrames") or 1)
        except Exception as error:
            raise InputError(name, f"does not say how large its image is ({type(error).__name__})") from None
    if not any(word in data for word in _DATA):
        raise InputError(name, f"has no pixel data (its modality is {kind})", "give an image")
    if min(rows, columns, count) < 1 or rows * columns * count > pixel_limit:
        raise InputError(name, f"has {count} x {rows} x {columns} pixels", f"1 to {pixel_limit} are allowed")
    with quiet():
        try:
            stored = _decoded(data)
            colour = int(data.get("SamplesPerPixel") or 1) > 1 or "PALETTE" in str(
                data.get("PhotometricInterpretation")
            )
            stored = stored.reshape(count, rows, columns, *((3,) if stored.size == 3 * count * rows * columns else ()))
            values = stored.astype(np.float32) if colour else _real(data, stored)
        except Exception as error:
            raise InputError(name, _undecoded(data, error), "export it uncompressed" if _syntax(data) else "") from None
    return values


def _first(item: Any, keyword: str) -> Any:
    sequence = item.get(keyword) if item is not None else None
    return sequence[0] if sequence else None


def _decoded(data: Any) -> np.ndarray:
    """Pillow decodes what it can, gdcm in a process of its own the rest."""
    from pydicom import uid
    from pydicom.pixels import apply_color_lut

    syntax = data.file_meta.TransferSyntaxUID
    by_pillow = (uid.JPEGBaseline8Bit, *uid.JPEG2000TransferSyntaxes)
    if syntax == uid.RLELossless or not syntax.is_compressed:
        stored = data.pixel_array
    elif syntax in by_pillow:
        data.pixel_array_options(decoding_plugin="pillow")
        try:
            stored = data.pixel_array
        except Exception:
            stored = decode_isolated(data)
    elif syntax in (uid.JPEGExtended12Bit, *uid.JPEGLSTransferSyntaxes, uid.JPEGLossless, uid.JPEGLosslessSV1):
        stored = decode_isolated(data)
    else:
        raise ValueError("there is no decoder for it")
    return apply_color_lut(stored, data)[..., :3] if _has_palette(data) else stored


def _has_palette(data: Any) -> bool:
    return "PALETTE" in str(data.get("PhotometricInterpretation"))


def _real(data: Any, stored: np.ndarray) -> np.ndarray:
    """(F, Y, X) stored values as what they measure."""
    from pydicom.pixels import apply_modality_lut

    padding = data.get("PixelPaddingValue")
    hidden = None
    if padding is not None and str(padding) != "":
        limit = data.get("PixelPaddingRangeLimit")
        low, high = sorted((int(padding), int(padding if limit is None else limit)))
        hidden = (stored >= low) & (stored <= high)
    if "ModalityLUTSequence" in data:
        values = np.asarray(apply_modality_lut(stored, data)).astype(np.float32)
    else:
        shared = _first(data, "SharedFunctionalGroupsSequence")
        groups = data.get(_PER_FRAME) or [None] * len(stored)
        values = np.empty(stored.shape, np.float32)
        for frame, group, out in zip(stored, groups, values, strict=False):
            slope, intercept = _line(_first(group, _LINE) or _first(shared, _LINE) or data)
            out[:] = frame * np.float32(slope) + np.float32(intercept)
    if hidden is not None and not hidden.all():
        values[hidden] = np.nan
    return values


def _line(group: Any) -> tuple[float, float]:
    slope, intercept = group.get("RescaleSlope"), group.get("RescaleIntercept")
    if slope is None and group.get("DoseGridScaling") is not None:
        slope = group.get("DoseGridScaling")
    line = (1.0 if slope in (None, "") else float(slope), 0.0 if intercept in (None, "") else float(intercept))
    if line[0] == 0 or not np.isfinite(line).all():
        raise ValueError(f"the rescale slope is {line[0]:g} and the intercept {line[1]:g}")
    return line


def _syntax(data: Any) -> str | None:
    """How the pixel data are compressed, None if they are not."""
    try:
        uid = data.file_meta.TransferSyntaxUID
        return str(uid.name) if uid.is_compressed else None
    except Exception:  # not a syntax, or several
        return _UNKNOWN


def _undecoded(data: Any, error: Exception) -> str:
    how = _syntax(data)
    if how == _UNKNOWN:  # what stands there may be anything of the header
        return f"its pixel data ({how}) cannot be decoded"
    how = "uncompressed" if how is None else f"compressed as {how}"
    return f"its pixel data ({how}) cannot be decoded: {' '.join(told(error).split())[:200]}"


_UNKNOWN = "in a syntax that is not known"
