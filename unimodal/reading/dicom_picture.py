"""DICOM picture: one plane of an object as a picture of one channel, with the window that its header asks for.

Source: DICOM PS3.3, C.11.2.1 (VOI LUT: equations of LINEAR and LINEAR_EXACT), C.7.6.3.1.2 (MONOCHROME1).
"""

from typing import Any

import numpy as np

from unimodal.errors import InputError
from unimodal.reading.dicom import frames_of, open_dicom, told_modality
from unimodal.reading.dicom_pixels import frame_values
from unimodal.reading.grey import Grey, luminance
from unimodal.reading.intensity import Intensity
from unimodal.reading.quiet import quiet

__all__ = ["read_dicom_picture"]


def read_dicom_picture(source: Any, name: str, *, frame: int | None, pixel_limit: int) -> Grey:
    """The values behind the modality LUT, not those behind the window; colour by its luminance.

    Args:
        source: A path, bytes or a binary file object.
        name: How to call it in messages.
        frame: Which frame of a series of frames; None takes the first and notes it.
        pixel_limit: The most pixels that are decoded.

    Raises:
        InputError: it is no DICOM image, is damaged, has no decoder, or has no such frame.
    """
    data = open_dicom(source, name=name)
    if "Rows" not in data:
        kind = told_modality(data) or "unknown"
        raise InputError(name, f"has no pixel data (its modality is {kind})", "give an image")
    planes = frame_values(data, name, pixel_limit=pixel_limit)
    count = len(planes)
    if frame is not None and not 0 <= frame < count:
        raise InputError(name, f"holds {count} frames and no frame {frame}", f"0 to {count - 1} exist")
    values, notes = planes[frame or 0], (f"{_which(frame)} of {count} frames",) if count > 1 else ()
    if values.ndim == 3:
        grey = not np.ptp(values, axis=2).any()
        values, notes = luminance(values), notes if grey else (*notes, "its colours were read by their luminance")
    if np.isinf(values).any() or np.isnan(values).all():
        raise InputError(name, "has pixels that are not finite")
    spacing = frames_of(data, name)[0].spacing
    with quiet():
        try:
            inverted = str(data.get("PhotometricInterpretation")) == "MONOCHROME1"
            window = _window(data, inverted)
            mode = f"{int(data.get('BitsStored') or 0)} bits"
        except Exception:  # a damaged window is none
            inverted, window, mode = False, None, "DICOM"
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if window is not None and (max(window.dark, window.bright) <= low or min(window.dark, window.bright) >= high):
        window, notes = None, (*notes, "the header's window shows none of the values and was not used")
    modality = told_modality(data) or None
    return Grey(name, values, mode, "DICOM", 1, inverted, window, spacing, modality, notes)


def _window(data: Any, inverted: bool) -> Intensity | None:
    """The first window, or the range that the first VOI LUT maps."""
    tables = data.get("VOILUTSequence")
    centre, width = (_one(data.get(word)) for word in ("WindowCenter", "WindowWidth"))
    if tables:
        count, first, _ = tables[0].LUTDescriptor
        low, high, told_by = float(first), float(first) + float(count or 65_536) - 1, "the range of the VOI LUT"
    elif centre is None or width is None:
        return None
    else:
        exact = str(data.get("VOILUTFunction") or "LINEAR") != "LINEAR"
        low, high = centre - width / 2, centre + width / 2
        if not exact:
            low, high = centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2
        told_by = "the window in the header"
    if not low < high:
        return None
    return Intensity(high, low, told_by) if inverted else Intensity(low, high, told_by)


def _one(value: Any) -> float | None:
    if value is None or str(value) == "":
        return None
    return float(value[0] if hasattr(value, "__getitem__") and not isinstance(value, str) else value)


def _which(frame: int | None) -> str:
    return "the first" if frame is None else f"number {frame}"
