"""DICOM series: single images of one series as one volume, in the order of their places, with none missing.

Source: DICOM PS3.3, C.7.6.2.1.1 (image position and orientation; equation C.7.6.2.1-1).
Axes: S slices, Y rows, X columns.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from unimodal.errors import InputError
from unimodal.reading.dicom import DicomFrame, frames_of, open_dicom, told_modality
from unimodal.reading.dicom_pixels import frame_values
from unimodal.reading.quiet import quiet
from unimodal.reading.volume import Volume

__all__ = ["read_series"]

_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])
_LOCALIZERS = {"LOCALIZER", "SCOUT", "TOPOGRAM"}


@dataclass(frozen=True, eq=False)
class _Image:
    """One object of a series, without its pixels; nothing of who the patient is."""

    name: str
    source: Any
    frames: list[DicomFrame]
    size: tuple[int, int]
    modality: str
    series: str
    number: str
    identity: str
    kinds: tuple[str, ...]
    inverted: bool
    place: float


@dataclass(frozen=True, eq=False)
class _Slice:
    image: _Image
    frame: DicomFrame
    place: float  # mm along the slices' normal, or the rank where places are unknown


def read_series(entries: Sequence[tuple[str, Any]], *, name: str, frame: int | None = None, voxel_limit: int) -> Volume:
    """The one series among ``entries``; what is not DICOM or holds no image is passed over.

    Index (s, y, x) lies at position[s] + x spacing_x along[0] + y spacing_y along[1]. Localizers are left out, and so
    are series of a single image beside one of several; the notes say so. A tilted gantry gives a sheared grid, which
    the affine states.

    Args:
        entries: (name for messages, path or bytes) of each file.
        name: Of the whole.
        frame: Which image of each place counts where there are several (echoes, times); None means the first, and the
            record says so.
        voxel_limit: The most voxels that are decoded.

    Raises:
        InputError: no images, several series, slices of different sizes or orientations, missing slices, uneven
            spacing, colour, or an image that cannot be decoded; names the files.
    """
    images, notes = _one_series(_images(entries, name), name)
    _alike(images)
    slices, more = _ordered(images, name, frame)
    rows, columns = images[0].size
    if len(slices) * rows * columns > voxel_limit:
        raise InputError(name, f"has {len(slices)} x {rows} x {columns} voxels", f"{voxel_limit} are allowed at most")
    values, decoded = np.empty((len(slices), rows, columns), np.float32), {}
    for index, piece in enumerate(slices):
        key = id(piece.image)
        if key not in decoded:
            data = open_dicom(piece.image.source, name=piece.image.name)
            decoded = {key: frame_values(data, piece.image.name, pixel_limit=voxel_limit)}
        frames = decoded[key]
        if frames.ndim == 4:
            raise InputError(piece.image.name, "is a colour picture, not a scan")
        values[index] = frames[piece.frame.index]
    affine, shear = _affine(slices)
    modality, inverted = images[0].modality or None, images[0].inverted
    return Volume(name, values, affine, "DICOM", modality, inverted, (*notes, *more, *shear))


def _images(entries: Sequence[tuple[str, Any]], name: str) -> list[_Image]:
    """The images among the files. An error of the only file is told; of several, files that are no images are not."""
    images: dict[str, _Image] = {}
    reasons: list[InputError] = []
    for label, source in entries:
        try:
            header = open_dicom(source, pixels=False, name=label)
        except InputError as error:
            reasons.append(error)
            continue
        with quiet():
            try:
                kind = told_modality(header) or "unknown"
                if "Rows" not in header:
                    reasons.append(InputError(label, f"has no pixel data (its modality is {kind})", "give an image"))
                    continue
                image = _image(label, source, header)
            except InputError:
                raise
            except Exception as error:  # its text may quote the header, and so the patient
                raise InputError(label, f"has a header that cannot be read ({type(error).__name__})") from None
        images.setdefault(image.identity or label, image)
    if images:
        return list(images.values())
    if len(entries) == 1:
        raise reasons[0]
    if not entries:
        raise InputError(name, "is an empty folder", "give a folder with the files of one series")
    raise InputError(name, f"holds no DICOM images ({len(entries)} other files)", "give the folder of one series")


def _image(name: str, source: Any, header: Any) -> _Image:
    kinds = header.get("ImageType") or ()
    place, number = header.get("SliceLocation"), header.get("SeriesNumber")
    return _Image(
        name,
        source,
        frames_of(header, name),
        (int(header.Rows), int(header.Columns)),
        told_modality(header),
        str(header.get("SeriesInstanceUID") or ""),
        "" if number in (None, "") else str(int(number)),
        str(header.get("SOPInstanceUID") or ""),
        tuple(str(kind).upper() for kind in ((kinds,) if isinstance(kinds, str) else kinds)),
        str(header.get("PhotometricInterpretation")) == "MONOCHROME1",
        0.0 if place in (None, "") else float(place),
    )


def _one_series(images: list[_Image], name: str) -> tuple[list[_Image], list[str]]:
    notes: list[str] = []
    scans = [image for image in images if not _LOCALIZERS & set(image.kinds)]
    if scans and len(scans) < len(images):
        notes.append(f"{len(images) - len(scans)} localizer images were left out")
        images = scans
    groups: dict[str, list[_Image]] = {}
    for image in images:
        groups.setdefault(image.series, []).append(image)
    several = [group for group in groups.values() if sum(len(image.frames) for image in group) > 1]
    if len(groups) == 1:
        return images, notes
    if len(several) == 1:
        left = len(images) - len(several[0])
        return several[0], [*notes, f"{left} single images of other series were left out"]
    listed = "; ".join(_described(group) for group in list(groups.values())[:8])
    listed += f"; and {len(groups) - 8} more" if len(groups) > 8 else ""
    raise InputError(name, f"holds {len(groups)} series ({listed})", "give a folder, or a list of files, of one series")


def _described(group: list[_Image]) -> str:
    first, count = group[0], sum(len(image.frames) for image in group)
    said = f"number {first.number}: " if first.number else ""
    return f"{said}{count} {first.modality} image{'s' if count > 1 else ''} as {Path(first.name).name}"


def _alike(images: list[_Image]) -> None:
    first = images[0]
    for other in images[1:]:
        if other.size != first.size:
            sizes = [f"{rows} x {columns}" for rows, columns in (first.size, other.size)]
            raise InputError(other.name, f"has {sizes[1]} pixels and {first.name} has {sizes[0]}", "give one series")
    along = [(image, frame.along) for image in images for frame in image.frames]
    for image, directions in along[1:]:
        start = along[0][1]
        if (directions is None) != (start is None) or (
            directions is not None and start is not None and np.abs(directions - start).max() > 0.01
        ):
            cause = f"has another orientation than {first.name}" if image is not first else "has several orientations"
            raise InputError(image.name, cause, "give slices of one orientation")


def _ordered(images: list[_Image], name: str, frame: int | None) -> tuple[list[_Slice], list[str]]:
    """Slices by place along the normal, one a place and evenly spaced."""
    pairs = [(image, piece) for image in images for piece in image.frames]
    along = pairs[0][1].along
    if len(pairs) > 1 and (along is None or any(piece.position is None for _, piece in pairs)):
        pairs.sort(key=lambda pair: (pair[0].place, *pair[1].order[1:]))
        slices = [_Slice(image, piece, float(rank)) for rank, (image, piece) in enumerate(pairs)]
        return slices, ["positions are not told: slices are in the order of their numbers"]
    normal = np.array([0.0, 0.0, 1.0]) if along is None else np.cross(*along)
    slices = [
        _Slice(image, piece, 0.0 if piece.position is None else float(piece.position @ normal))
        for image, piece in pairs
    ]
    slices.sort(key=lambda piece: (piece.place, piece.frame.order))
    places: list[list[_Slice]] = []
    for piece in slices:
        if places and piece.place - places[-1][0].place < 1e-3:
            places[-1].append(piece)
        else:
            places.append([piece])
    counts = Counter(len(place) for place in places)
    if len(counts) > 1:
        uneven = next(place for place in places if len(place) != counts.most_common(1)[0][0])
        said = f"{len(uneven)} images lie at one place (as {uneven[0].image.name}) and {counts.most_common(1)[0][0]}"
        raise InputError(name, f"{said} at the others", "give one volume's files")
    each = len(places[0])
    if frame is not None and not 0 <= frame < each:
        raise InputError(name, f"has {each} images at each place and no frame {frame}", f"0 to {each - 1} exist")
    chosen = [place[frame or 0] for place in places]
    _even(chosen, name)
    if each == 1:
        return chosen, []
    which = f"frame {frame}" if frame is not None else "the first"
    return chosen, [f"{which} of {each} at each place"]


def _even(slices: list[_Slice], name: str) -> None:
    gaps = np.diff([piece.place for piece in slices])
    if len(gaps) < 2:
        return
    usual = float(np.median(gaps))
    off = np.abs(gaps - usual) > max(0.1 * usual, min(0.11, 0.4 * usual))
    if not off.any():
        return
    at = int(np.argmax(np.abs(gaps - usual)))
    between = f"between {Path(slices[at].image.name).name} and {Path(slices[at + 1].image.name).name}"
    times = gaps[at] / usual
    if times > 1.5 and abs(times - round(times)) < 0.1 and off.sum() <= max(1, len(gaps) // 4):
        missing = round(times) - 1
        said = f"{missing} slice{'s are' if missing > 1 else ' is'} missing {between}"
        raise InputError(name, f"{said} (a gap of {gaps[at]:.4g} mm, {usual:.4g} mm elsewhere)", "give all slices")
    said = f"its slices are {gaps.min():.4g} to {gaps.max():.4g} mm apart, the widest or narrowest {between}"
    raise InputError(name, said, "resample it to one spacing")


def _affine(slices: list[_Slice]) -> tuple[np.ndarray, list[str]]:
    """From (s, y, x) to RAS mm, and a note on what was assumed or is out of the ordinary."""
    first, last, notes = slices[0].frame, slices[-1].frame, []
    along = np.array([[1.0, 0, 0], [0, 1.0, 0]]) if first.along is None else first.along
    spacing = first.spacing or (1.0, 1.0)
    if first.spacing is None or min(spacing) <= 0:
        spacing = (1.0, 1.0)
        notes.append("the pixels' spacing is not told: 1 mm is assumed")
    normal, start = np.cross(*along), np.zeros(3) if first.position is None else first.position
    step = normal * (first.step or 1.0)
    if len(slices) > 1 and first.position is not None and last.position is not None:
        step = (last.position - first.position) / (len(slices) - 1)
        tilt = np.degrees(np.arccos(np.clip(abs(step @ normal) / np.linalg.norm(step), -1, 1)))
        if tilt > 0.5:
            notes.append(f"the slices are tilted by {tilt:.1f} degrees against their stack")
    elif first.step is None:
        notes.append("the slices' spacing is not told: 1 mm is assumed")
    affine = np.eye(4)
    affine[:3, :3] = _LPS_TO_RAS @ np.stack([step, along[1] * spacing[0], along[0] * spacing[1]], 1)
    affine[:3, 3] = _LPS_TO_RAS @ start
    return affine, notes
