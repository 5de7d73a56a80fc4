"""Open picture: any file, bytes, array or PIL image as a picture that is checked first and decoded at the size asked.

Colours are converted by :mod:`unimodal.reading.colour`.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from torch import Tensor

from unimodal.errors import InputError
from unimodal.reading.colour import array_to_picture, to_eight_bit
from unimodal.reading.opening import open_stream, source_name, told
from unimodal.reading.quiet import quiet
from unimodal.reading.resampling import resize_picture

__all__ = ["Picture", "open_picture"]

Box = tuple[float, float, float, float]

# How each EXIF orientation is displayed: swap the axes of what is stored, then flip upside down, then left to right.
_TURN = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}
_RUNS_PROGRAMS = ("EPS",)  # Pillow hands these to an outside interpreter


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture whose header was read and checked; :meth:`pixels` decodes it.

    Args:
        name: How to call it in messages.
        image: The image as stored.
        size: (width, height) px as displayed.
        mode: Pixel layout as stored.
        format: The file's format, None for pictures that were not files.
        orientation: EXIF orientation tag.
        pending: The orientation that is still to be obeyed behind decoding.
        draftable: Whether a JPEG decoder may be asked for a smaller picture.
    """

    name: str
    image: Image.Image
    size: tuple[int, int]
    mode: str
    format: str | None
    orientation: int
    pending: int
    draftable: bool

    def pixels(self, size: tuple[int, int], box: Box, resample: Image.Resampling) -> tuple[Tensor, Box]:
        """Decode and resize the part ``box`` to ``size``. Call it once.

        A JPEG of at least twice the wanted resolution is decoded at a half, a quarter or an eighth. The part is then
        cut at whole pixels of the decoded picture; where that was is returned with it.

        Args:
            size: (rows, columns) px.
            box: (left, upper, right, lower) px as displayed.
            resample: The filter; it is widened when the picture shrinks.

        Shapes:
            returns (3, rows, columns) uint8, RGB as displayed.

        Raises:
            InputError: the data are damaged or truncated, or their colours cannot be converted.
        """
        swap, upside, across = _TURN[self.pending]
        stored_w, stored_h = self.image.size
        try:
            with quiet():
                left, upper, right, lower = self._stored(box)
                rows, columns = (size[1], size[0]) if swap else size
                per_x = per_y = 1.0
                if self.draftable:
                    wanted = (
                        math.ceil(stored_w * columns / (right - left)),
                        math.ceil(stored_h * rows / (lower - upper)),
                    )
                    drafted = self.image.draft(None, wanted)
                    if drafted is not None:
                        per_x, per_y = drafted[1][2] / stored_w, drafted[1][3] / stored_h
                self.image.load()
                image = to_eight_bit(self.image)
                left, right = _whole(left * per_x, right * per_x, image.width)
                upper, lower = _whole(upper * per_y, lower * per_y, image.height)
                pixels = resize_picture(image, (rows, columns), (left, upper, right, lower), resample)
        except InputError as error:
            raise InputError(self.name, error.cause, error.remedy) from None
        except Exception as error:  # decoders raise nearly anything on bad data
            kind = f"{self.format} data" if self.format else "image"
            raise InputError(self.name, f"damaged or truncated {kind} ({told(error)})") from error
        pixels = pixels.mT if swap else pixels
        axes = [axis for axis, flip in ((1, upside), (2, across)) if flip]
        pixels = pixels.flip(axes) if axes else pixels.contiguous()
        return pixels, self._displayed((left / per_x, upper / per_y, right / per_x, lower / per_y))

    def levels(self, *, bands: bool = False) -> np.ndarray:
        """Decode at the depth of the file, as displayed. Call it once.

        Args:
            bands: Whether the stored bands are wanted as they are. Else palettes, bits and what has no levels of its
                own become grey or RGB, and transparency is laid over white.

        Shapes:
            returns (rows, columns) or (rows, columns, channels): uint8, uint16, int32 or float32.

        Raises:
            InputError: the data are damaged or truncated, or their colours cannot be converted.
        """
        try:
            with quiet():
                self.image.load()
                asis = bands or self.image.mode in ("I", "F") or self.image.mode.startswith("I;16")
                values = np.array(self.image if asis else to_eight_bit(self.image))
        except InputError as error:
            raise InputError(self.name, error.cause, error.remedy) from None
        except Exception as error:  # decoders raise nearly anything on bad data
            kind = f"{self.format} data" if self.format else "image"
            raise InputError(self.name, f"damaged or truncated {kind} ({told(error)})") from error
        swap, upside, across = _TURN[self.pending]
        values = values.swapaxes(0, 1) if swap else values
        return values[:: -1 if upside else 1, :: -1 if across else 1]

    def _stored(self, box: Box) -> Box:
        swap, upside, across = _TURN[self.pending]
        (width, height), (left, upper, right, lower) = self.size, box
        left, right = (width - right, width - left) if across else (left, right)
        upper, lower = (height - lower, height - upper) if upside else (upper, lower)
        return (upper, left, lower, right) if swap else (left, upper, right, lower)

    def _displayed(self, box: Box) -> Box:
        swap, upside, across = _TURN[self.pending]
        left, upper, right, lower = (box[1], box[0], box[3], box[2]) if swap else box
        left, right = (self.size[0] - right, self.size[0] - left) if across else (left, right)
        upper, lower = (self.size[1] - lower, self.size[1] - upper) if upside else (upper, lower)
        return left, upper, right, lower


@contextmanager
def open_picture(source: Any, *, pixel_limit: int) -> Iterator[Picture]:
    """Open a picture and read its header; nothing is decoded yet. Safe to call from several threads.

    Args:
        source: A path, a PIL image, an array (H, W), (H, W, 3) or (H, W, 4) of uint8, uint16, bool or float in 0..1,
            encoded bytes or a binary file object. Of an animation the first frame counts.
        pixel_limit: The most pixels that a picture may have, by its header.

    Raises:
        InputError: the source cannot be opened, is no picture, is damaged, has no pixels or too many.
    """
    name = _name(source)
    with ExitStack() as files, quiet():
        if isinstance(source, Image.Image):
            image, mode, form = source, source.mode, getattr(source, "format", None)
        elif isinstance(source, np.ndarray):
            image, mode, form = array_to_picture(source, name, pixel_limit), f"{source.dtype} array", None
        else:
            image = _parse(open_stream(source, files, what="a picture", also="a PIL image, an array"), name)
            mode, form = image.mode, image.format
        width, height = image.size
        if width < 1 or height < 1:
            raise InputError(name, f"has no pixels ({width} x {height})")
        if width * height > pixel_limit:
            cause = f"has {width} x {height} = {width * height} pixels, over the limit of {pixel_limit}"
            raise InputError(name, cause, "raise pixel_limit if you trust it")
        if form == "TIFF" and not _holds_its_pixels(image):
            raise InputError(name, f"damaged or truncated TIFF data (not enough for {width} x {height} pixels)")
        orientation = _orientation(image, name)
        pending = 1 if form == "TIFF" else orientation  # Pillow turns TIFF itself when it decodes
        draftable = form in ("JPEG", "MPO") and image is not source
        size = (height, width) if _TURN[pending][0] else (width, height)
        yield Picture(name, image, size, mode, form, orientation, pending, draftable)


def _name(source: Any) -> str:
    if isinstance(source, Image.Image):
        return str(getattr(source, "filename", "")) or f"{source.mode} image"
    return source_name(source)


def _parse(file: IO[bytes], name: str) -> Image.Image:
    """Image.open without its process-wide pixel limit: the first plugin that takes the file reads its header."""
    file.seek(0)
    prefix = file.read(16)
    if not prefix:
        raise InputError(name, "is empty (0 bytes)")
    claimed, tried = None, set()
    for load_plugins in (Image.preinit, Image.init):
        load_plugins()
        for form in [form for form in Image.ID if form not in tried]:
            tried.add(form)
            factory, accept = Image.OPEN[form]
            if not _accepts(accept, prefix):
                continue
            if form in _RUNS_PROGRAMS:
                raise InputError(name, f"{form} files are programs, not pictures", "convert it to PNG")
            try:
                file.seek(0)
                return factory(file, "")
            except Exception as error:  # a plugin says so in many ways that the file is not its own
                if accept is not None:
                    claimed = claimed or f"damaged or truncated {form} file ({told(error)})"
    begin = f"it begins with {prefix[:8]!r}"
    raise InputError(name, claimed or f"is not an image file ({begin})", "" if claimed else "JPEG, PNG ... are read")


def _accepts(accept: Callable[[bytes], bool | str] | None, prefix: bytes) -> bool:
    try:
        taken = accept is None or accept(prefix)
        return bool(taken) and not isinstance(taken, str)  # a string says which library is missing
    except Exception:
        return False


def _holds_its_pixels(image: Any) -> bool:
    """Whether an uncompressed TIFF is as long as its pixels need; Pillow gives black for those that are not there."""
    try:
        if image is None or image.tag_v2.get(259, 1) != 1:
            return True
        bits, begin = sum(image.tag_v2.get(258, (1,))), image.fp.tell()
        length = image.fp.seek(0, 2)
        image.fp.seek(begin)
    except Exception:  # what cannot be told is left to the decoder
        return True
    return 8 * length >= bits * image.width * image.height


def _orientation(image: Image.Image, name: str) -> int:
    if isinstance(image, PngImageFile):
        try:
            image.load()  # metadata may come behind the pixels; a second load after a failed one would not fail
        except Exception as error:
            raise InputError(name, f"damaged or truncated PNG data ({told(error)})") from error
    try:
        tag = image.getexif().get(0x0112, 1)
    except Exception:  # damaged metadata do not make a picture unreadable
        return 1
    return tag if tag in _TURN else 1


def _whole(low: float, high: float, length: int) -> tuple[int, int]:
    """The interval's nearest one of whole pixels within 0..length: its length, at least 1, is rounded first."""
    cells = min(max(1, math.floor(high - low + 0.5)), length)
    begin = min(max(0, math.floor(low + 0.5)), length - cells)
    return begin, begin + cells
