"""DICOM: one object opened, and where its frames lie in the patient; messages quote nothing of who the patient is.

Source: DICOM PS3.3 (C.7.6.2.1 image plane, C.7.6.16 multi-frame functional groups, C.8.8.3.2 grid frame offsets).
"""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from unimodal.errors import InputError, MissingExtraError
from unimodal.reading.opening import open_stream, source_name
from unimodal.reading.quiet import quiet

__all__ = [
    "BEGINNINGS",
    "RADIOGRAPHS",
    "DicomFrame",
    "dicom_modality",
    "frames_of",
    "is_dicom",
    "open_dicom",
    "told_modality",
]

BEGINNINGS = (b"\x08\x00", b"\x02\x00", b"\x00\x08", b"\x00\x02")  # group 8 or 2, in either byte order
RADIOGRAPHS = frozenset({"CR", "DX", "MG", "RF", "XA", "IO", "PX", "RG"})  # projections, not scans
_PER_FRAME = "PerFrameFunctionalGroupsSequence"
_HEAD, _MOST = 65_536, 100_000


@dataclass(frozen=True, eq=False)
class DicomFrame:
    """One frame's place, as far as it is told: DICOM's patient axes (left, posterior, superior), mm.

    Args:
        index: Of the frame in its object.
        position: Centre of the first pixel.
        along: Unit vectors (2, 3) in which the column index and the row index rise.
        spacing: (rows, columns) mm between neighbours.
        step: mm from one slice to the next (the slices' thickness where nothing better is told).
        order: Numbers that order frames of which the position is the same or unknown.
    """

    index: int
    position: np.ndarray | None
    along: np.ndarray | None
    spacing: tuple[float, float] | None
    step: float | None
    order: tuple[float, ...]


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins like this is DICOM for sure (its magic word behind the preamble)."""
    return head[128:132] == b"DICM"


def dicom_modality(path: Path) -> str | None:
    """The Modality of a DICOM file ("CT", "" if it tells none) from its first bytes; None if it is no such file."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return None
    if not is_dicom(head):
        return None
    for tag, explicit in ((b"\x08\x00\x60\x00", b"CS"), (b"\x00\x08\x00\x60", b"CS")):
        at = head.find(tag, 132)
        if at >= 0:
            order = "little" if tag[0] else "big"
            width = slice(at + 6, at + 8) if head[at + 4 : at + 6] == explicit else slice(at + 4, at + 8)
            return (
                head[at + 8 : at + 8 + int.from_bytes(head[width], order) % 17].decode("ascii", "ignore").strip(" \0")
            )
    return ""


def told_modality(header: Any) -> str:
    """The Modality of an opened object, "" where it tells none or anything but a code."""
    try:
        code = str(header.get("Modality") or "")
    except Exception:  # an element is only read when it is asked for, and may be damaged
        return ""
    return code if code.isalnum() and len(code) <= 16 else ""


def open_dicom(source: Any, *, pixels: bool = True, name: str | None = None) -> Any:
    """The data set of a path, bytes or binary file object.

    Args:
        pixels: Whether the pixel data are wanted too.
        name: How to call it in messages; None for what it is.

    Raises:
        InputError: the source cannot be opened, is empty, no DICOM or damaged.
        MissingExtraError: pydicom is not installed.
    """
    try:
        import pydicom
    except ImportError:
        raise MissingExtraError("pydicom", "medical") from None
    name = name or source_name(source)
    with ExitStack() as files, quiet():
        stream = open_stream(source, files, what="a DICOM object")
        head = stream.read(132)
        if not head:
            raise InputError(name, "is empty (0 bytes)")
        if not is_dicom(head) and head[:2] not in BEGINNINGS:
            raise InputError(name, f"is not a DICOM file (it begins with {head[:8]!r})")
        stream.seek(0)
        try:
            data: Any = pydicom.dcmread(stream, force=True, stop_before_pixels=not pixels)
            if "TransferSyntaxUID" not in data.file_meta:
                data.file_meta.TransferSyntaxUID = _guessed(data)
            if not len(data):
                raise InputError(name, "is a DICOM file without content", "it may be truncated")
        except InputError:
            raise
        except Exception as error:  # its text may quote the header, and so the patient
            raise InputError(name, f"damaged or truncated DICOM file ({type(error).__name__})") from None
    return data


def frames_of(data: Any, name: str) -> list[DicomFrame]:
    """Where each frame of an object lies.

    Raises:
        InputError: the header's geometry cannot be read.
    """
    with quiet():
        try:
            count = int(data.get("NumberOfFrames") or 1)
            shared, groups = _first(data, "SharedFunctionalGroupsSequence"), data.get(_PER_FRAME)
            places = [(group, shared, data) for group in groups or [None] * min(count, _MOST)]
            frames = [_frame(index, place) for index, place in enumerate(places[:count])]
            return frames if groups or count == 1 else _spread(data, frames)
        except Exception as error:
            raise InputError(name, f"has a header whose geometry cannot be read ({type(error).__name__})") from None


def _guessed(data: Any) -> str:
    from pydicom import uid

    implicit, little = data.original_encoding
    if implicit:
        return uid.ImplicitVRLittleEndian
    return uid.ExplicitVRLittleEndian if little is not False else uid.ExplicitVRBigEndian


def _first(item: Any, keyword: str) -> Any:
    sequence = item.get(keyword) if item is not None else None
    return sequence[0] if sequence else None


def _frame(index: int, groups: tuple[Any, Any, Any]) -> DicomFrame:
    """The frame's own functional groups come first, then those of all frames, then the plain header."""

    def told_by(sequence: str, keyword: str) -> Any:
        for group in groups[:2]:
            value = (_first(group, sequence) or {}).get(keyword)
            if value is not None and str(value) != "":
                return value
        value = groups[2].get(keyword)
        return None if value is None or str(value) == "" else value

    measures, header = "PixelMeasuresSequence", groups[2]
    position = told_by("PlanePositionSequence", "ImagePositionPatient")
    cosines = told_by("PlaneOrientationSequence", "ImageOrientationPatient")
    spacing = told_by(measures, "PixelSpacing") or header.get("ImagerPixelSpacing")
    step = told_by(measures, "SpacingBetweenSlices") or told_by(measures, "SliceThickness")
    along = None if cosines is None else np.array(cosines, float).reshape(2, 3)
    if along is not None:
        along = along / np.linalg.norm(along, axis=1, keepdims=True)
        along = None if not np.isfinite(along).all() or abs(along[0] @ along[1]) > 0.01 else along
    place = told_by("FrameContentSequence", "TemporalPositionIndex")
    words = ("AcquisitionNumber", "TemporalPositionIdentifier", "EchoNumbers", "TriggerTime", "InstanceNumber")
    order = (float(place or 0), *(_number(header.get(word)) for word in words), float(index))
    return DicomFrame(
        index,
        None if position is None else np.array(position, float).reshape(3),
        along,
        None if spacing is None else (float(spacing[0]), float(spacing[1])),
        None if not step else abs(float(step)) or None,
        order,
    )


def _spread(data: Any, frames: list[DicomFrame]) -> list[DicomFrame]:
    """The one position in the header is the first frame's; the others follow where offsets are told."""
    offsets, first = data.get("GridFrameOffsetVector"), frames[0]
    if offsets is None or first.along is None or first.position is None:
        return [replace(frame, position=None) for frame in frames]
    normal = np.cross(*first.along)
    places = [first.position + (float(o) - float(offsets[0])) * normal for o in offsets]
    return [replace(frame, position=place) for frame, place in zip(frames, places, strict=True)]


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0
