"""Open clip: a video file, an animated picture, an array or a list of pictures, as frames at wanted times.

Axes: T frames, Y rows, X columns.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from unimodal.errors import InputError, MissingExtraError
from unimodal.reading.animation import shown_for
from unimodal.reading.film import Film
from unimodal.reading.opening import open_stream, source_name, told
from unimodal.reading.picture import Box, Picture, open_picture

__all__ = ["Clip", "open_clip"]

_SAME = 1e-4  # s
_KINDS = (  # where a container's mark is in the first bytes
    *((4, box) for box in (b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"free", b"skip")),
    *((0, mark) for mark in (b"\x1a\x45\xdf\xa3", b"FLV", b"0&\xb2u", b"\x00\x00\x01\xba", b"OggS")),
    (8, b"AVI "),
)
_STILL = (b"heic", b"heix", b"mif1", b"avif")  # pictures in the same container as MP4


@dataclass(frozen=True, eq=False)
class Clip:
    """A clip whose header was read and checked; :meth:`frames` decodes what is asked for.

    Args:
        name: How to call it in messages.
        size: (width, height) px as displayed: turned, and with square pixels (the width is stretched).
        aspect: Width of a stored pixel over its height.
        orientation: EXIF orientation 1 to 8 of the first frame.
        duration_s: From the first frame to the end of the last one.
        rate_hz: Frames a second on average, or None.
        mode: Pixel layout as stored.
        format: The container, None for pictures in memory.
        codec: How frames are coded, None for pictures in memory.
        shown: For times in rising order, the frame on display at each, with its time stamp.
    """

    name: str
    size: tuple[int, int]
    aspect: float
    orientation: int
    duration_s: float
    rate_hz: float | None
    mode: str
    format: str | None
    codec: str | None
    shown: Callable[[Sequence[float]], Iterator[tuple[float, Picture]]]

    def frames(
        self, times_s: Sequence[float], size: tuple[int, int], box: Box, resample: Image.Resampling
    ) -> tuple[Tensor, tuple[float, ...], Box]:
        """The part ``box`` of the frame on display at each time, at ``size``. Only one whole frame is held at a time.

        Args:
            times_s: In rising order, s from the first frame.
            size: (rows, columns) px.
            box: (left, upper, right, lower) px as displayed; of frames of another size than the first, the same share.
            resample: The filter; it is widened when frames shrink.

        Shapes:
            returns (T, 3, rows, columns) uint8; the frames' time stamps; the box that was cut of the first frame, at
            whole stored pixels.

        Raises:
            InputError: a frame is missing or damaged.
        """
        pixels, stamps, cut = [], [], box
        before: tuple[float, Tensor] | None = None
        for stamp, picture in self.shown(times_s):
            if before is not None and before[0] == stamp:
                stamps.append(stamp)
                pixels.append(before[1])
                continue
            across, down = picture.size[0] / self.size[0], picture.size[1] / self.size[1]
            part, found = picture.pixels(size, _scaled(box, across, down), resample)
            if before is None:
                cut = _scaled(found, 1 / across, 1 / down)
            before = stamp, part
            stamps.append(stamp)
            pixels.append(part)
        return torch.stack(pixels), tuple(stamps), cut


@contextmanager
def open_clip(source: Any, *, pixel_limit: int, array_hz: float) -> Iterator[Clip]:
    """Open a clip and read its header and first frame. Safe to call from several threads.

    Args:
        source: A path of a video or an animated GIF, WebP or PNG, encoded bytes or a binary file object, an animated
            PIL image, an array (T, Y, X, 3), or a list of what :func:`unimodal.reading.picture.open_picture` takes.
        pixel_limit: The most pixels that a frame may have.
        array_hz: Frames a second of arrays and lists, which have no times.

    Raises:
        InputError: the source cannot be opened, is no clip, is damaged, or has no frames or too many pixels.
        MissingExtraError: it is a video file and PyAV is not installed.
    """
    name = _name(source)
    with ExitStack() as files:
        if isinstance(source, Image.Image):
            if getattr(source, "n_frames", 1) < 2:
                raise InputError(name, "is a still picture", _remedy("it"))
            yield _of_animation(source, name, None, pixel_limit)
        elif isinstance(source, list | tuple):
            yield _of_pictures(source, name, pixel_limit, array_hz)
        elif hasattr(source, "shape") and hasattr(source, "dtype"):
            yield _of_pictures(_split(source, name), name, pixel_limit, array_hz)
        else:
            file = open_stream(source, files, what="a clip", also="an array, a list of pictures")
            yield _of_file(file, name, pixel_limit, files)


def _of_file(file: IO[bytes], name: str, pixel_limit: int, files: ExitStack) -> Clip:
    file.seek(0)
    head = file.read(16)
    if not head:
        raise InputError(name, "is empty (0 bytes)")
    try:
        delays = shown_for(file)
    except ValueError as error:
        raise InputError(name, f"damaged or truncated animation ({told(error)})") from error
    if delays:
        if len(delays) == 1:
            raise InputError(name, "is a still picture (one frame)", _remedy("it"))
        try:
            picture = files.enter_context(open_picture(file, pixel_limit=pixel_limit))
        except InputError as error:
            raise InputError(name, error.cause, error.remedy) from error
        return _of_animation(picture.image, name, delays, pixel_limit)
    if head[4:8] == b"ftyp" and head[8:12] in _STILL:
        raise InputError(name, "is a still picture", _remedy("it"))
    try:
        film = Film(file, name, pixel_limit=pixel_limit)
    except MissingExtraError:
        raise
    except Exception as error:
        known = any(head[at:].startswith(mark) for at, mark in _KINDS)
        if isinstance(error, InputError) and (known or not error.cause.startswith("damaged")):
            raise
        if known:
            raise InputError(name, f"damaged or truncated video file ({told(error)})") from error
        if _is_picture(file, pixel_limit):
            raise InputError(name, "is a still picture", _remedy("it")) from None
        cause = f"is not a video file (it begins with {head[:8]!r})"
        raise InputError(name, cause, "MP4, MOV, WebM, MKV, AVI, MPEG, GIF ... are read") from None
    files.callback(film.close)

    def shown(times_s: Sequence[float]) -> Iterator[tuple[float, Picture]]:
        for stamp, rgb_YXC, orientation in film.shown(times_s):
            yield stamp, _picture(Image.fromarray(rgb_YXC), name, orientation, film.mode, film.format)

    width, height = film.size
    wide = max(1, round(width * film.aspect))
    return Clip(
        name=name,
        size=(height, wide) if film.orientation > 4 else (wide, height),
        aspect=film.aspect,
        orientation=film.orientation,
        duration_s=film.duration_s,
        rate_hz=film.rate_hz,
        mode=film.mode,
        format=film.format,
        codec=film.codec,
        shown=shown,
    )


def _of_animation(image: Image.Image, name: str, delays: list[float] | None, pixel_limit: int) -> Clip:
    """A file's delays are known from its blocks; a PIL image tells those it has when a frame is loaded."""
    if image.width * image.height > pixel_limit:
        cause = f"has frames of {image.width} x {image.height} px, over the limit of {pixel_limit}"
        raise InputError(name, cause, "raise pixel_limit if you trust it")
    first = int(bool(getattr(image, "default_image", False)))  # a PNG's picture for those who cannot animate

    def frame(index: int) -> Image.Image:
        try:
            image.seek(first + index)
            return image.copy()
        except Exception as error:
            cause = f"damaged or truncated animation: frame {index} cannot be decoded ({told(error)})"
            raise InputError(name, cause) from error

    if delays is None:
        count = int(getattr(image, "n_frames", 1)) - first
        delays = [(frame(i).info.get("duration") or 100) / 1000 for i in range(count)]
    starts = np.cumsum([0.0, *delays])

    def shown(times_s: Sequence[float]) -> Iterator[tuple[float, Picture]]:
        held: tuple[int, Picture] | None = None
        for index in _indices(times_s, starts[:-1]):
            if held is None or held[0] != index:
                held = index, _picture(frame(index), name, 1, image.mode, image.format)
            yield float(starts[index]), held[1]

    frame(0)
    total = float(starts[-1])
    return Clip(name, image.size, 1.0, 1, total, len(delays) / total, image.mode, image.format, image.format, shown)


def _of_pictures(pictures: Sequence[Any], name: str, pixel_limit: int, rate_hz: float) -> Clip:
    if not len(pictures):
        raise InputError(name, "has no frames", "give at least one")
    starts = np.arange(len(pictures)) / rate_hz
    with _opened(pictures, 0, name, pixel_limit) as first:
        size, mode, orientation = first.size, first.mode, first.orientation

    def shown(times_s: Sequence[float]) -> Iterator[tuple[float, Picture]]:
        for index in _indices(times_s, starts):
            with _opened(pictures, index, name, pixel_limit) as picture:
                yield float(starts[index]), picture

    return Clip(name, size, 1.0, orientation, len(pictures) / rate_hz, rate_hz, mode, None, None, shown)


@contextmanager
def _opened(pictures: Sequence[Any], index: int, name: str, pixel_limit: int) -> Iterator[Picture]:
    try:
        with open_picture(pictures[index], pixel_limit=pixel_limit) as picture:
            yield picture
    except InputError as error:
        raise InputError(name, f"frame {index}: {error.cause}", error.remedy) from error


def _split(array: Any, name: str) -> Sequence[np.ndarray]:
    try:
        frames = np.asarray(array)
    except Exception as error:
        raise InputError(name, f"is no array in memory ({told(error)})") from error
    if frames.ndim != 4 or frames.shape[3] not in (1, 3, 4):
        raise InputError(name, "is not (frames, rows, columns, channels)", "1, 3 or 4 channels come last")
    return list(frames[..., 0] if frames.shape[3] == 1 else frames)


def _picture(image: Image.Image, name: str, orientation: int, mode: str, form: str | None) -> Picture:
    size = image.size if orientation < 5 else (image.height, image.width)
    return Picture(name, image, size, mode, form, orientation, orientation, draftable=False)


def _indices(times_s: Sequence[float], starts: np.ndarray) -> list[int]:
    return np.maximum(np.searchsorted(starts, np.asarray(times_s) + _SAME, side="right") - 1, 0).tolist()


def _scaled(box: Box, across: float, down: float) -> Box:
    return box[0] * across, box[1] * down, box[2] * across, box[3] * down


def _is_picture(file: IO[bytes], pixel_limit: int) -> bool:
    try:
        with open_picture(file, pixel_limit=pixel_limit):
            return True
    except InputError as error:
        return "over the limit" in error.cause


def _remedy(what: str) -> str:
    return f"give {what} to the image tokenizer, or a list of pictures"


def _name(source: Any) -> str:
    if isinstance(source, Image.Image):
        return str(getattr(source, "filename", "")) or f"{source.mode} image"
    return f"list of {len(source)} pictures" if isinstance(source, list | tuple) else source_name(source)
