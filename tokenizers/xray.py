"""X-ray: radiographs as tokens of one channel, from DICOM or pictures, and back to the detector's own values.

Source: one-channel patches: Zhang et al. 2023, arXiv:2307.10802, sec. 3.2; the window: DICOM PS3.3, C.11.2.1.
Axes: B pictures, Y rows, X columns, D width, N tokens of a picture, S tokens of all pictures.
"""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch.nn as nn
from PIL import Image as Pillow
from torch import Tensor

from unimodal.cells import tokens_of_cells
from unimodal.collation import collated, in_one
from unimodal.part import Part
from unimodal.patches import pictures_from
from unimodal.reading.dicom import BEGINNINGS, RADIOGRAPHS, dicom_modality, is_dicom
from unimodal.reading.dicom_picture import read_dicom_picture
from unimodal.reading.grey import Grey, fit_grey, is_deep_grey, read_grey
from unimodal.reading.intensity import Intensity, robust_intensity
from unimodal.reading.intensity_record import IntensityRecord
from unimodal.reading.opening import open_stream, source_name
from unimodal.reading.placing import checked_size
from unimodal.sample import Batch, Sample
from unimodal.stems.patch import PatchStem
from unimodal.tokens import Tokens

__all__ = ["XRay"]

WINDOWS = ("auto", "robust")


class XRay(nn.Module):
    """radiograph -> fit to a size -> 2 (v - dark) / (bright - dark) - 1 -> stem -> one token a cell, row by row.

    Dark and bright are the window that a DICOM header asks for, or the 0.5th and 99.5th percentiles where there is
    none; nothing is clipped. Where high values are shown dark (MONOCHROME1) they become -1, so that dense tissue is
    bright in every source.

    Args:
        dim: Width D.
        stem: Turns (B, 1, Y, X) into (B, D, Y // stride, X // stride) and has ``stride`` and ``channels``.
        size: (rows, columns) px, or one number for both; None with ``fit="native"`` only.
        fit: One of crop, resize, inside, native; see :func:`unimodal.reading.placing.placed`. With the default of
            ``inside`` the whole radiograph is seen, in 196 tokens at most.
        window: auto (as above), robust (percentiles always), or the two values that become -1 and 1.
        frame: Which frame of an object with several; None refuses them.
        pixel_limit: Pictures with more pixels are refused before they are decoded.

    Shapes:
        forward: float (B, 1, Y, X) or B times (1, Y, X), scaled;
            returns (B, N, D) with side.grid, or when sizes differ packed (1, S, D) with side.grids.

    Raises:
        ValueError: an argument or the stem's channels are not as above.
    """

    suffixes: ClassVar[tuple[str, ...]] = (
        *(".dcm", ".dicom", ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".pgm", ".jp2"),
    )
    variable: ClassVar[Mapping[str, Any]] = {"size": None, "fit": "native"}

    def __init__(
        self,
        dim: int,
        *,
        stem: Part = Part(PatchStem, channels=1),
        size: tuple[int, int] | int | None = 224,
        fit: str = "inside",
        window: str | tuple[float, float] = "auto",
        frame: int | None = None,
        pixel_limit: int = 178_000_000,
    ) -> None:
        super().__init__()
        if window not in WINDOWS if isinstance(window, str) else len(window) != 2 or window[0] == window[1]:
            raise ValueError(f"window must be one of {', '.join(WINDOWS)} or two different values, not {window!r}")
        if pixel_limit < 1:
            raise ValueError(f"pixel_limit must be positive, not {pixel_limit}")
        self.stem = stem(dim)
        if self.stem.channels != 1:
            raise ValueError(f"stem must take 1 channel, not {self.stem.channels}")
        self.size, self.fit = checked_size(size, fit, self.stem.stride), fit
        self.window, self.frame, self.pixel_limit = window, frame, pixel_limit

    @staticmethod
    def claims(path: Path) -> float:
        """Sure of DICOM that is a radiograph; a picture is more likely a photo, less so if its grey is deep."""
        modality = dicom_modality(path) if path.is_file() else None
        if modality is not None:
            return 0.97 if modality in RADIOGRAPHS else 0.05 if modality else 0.4
        if not path.name.lower().endswith(XRay.suffixes) or path.suffix.lower() in (".dcm", ".dicom"):
            return 0.0
        return 0.3 if is_deep_grey(path) else 0.15

    @staticmethod
    def examples() -> list[np.ndarray]:
        """Rib-like waves on a bright middle, 16-bit, of three sizes."""
        grids = [np.mgrid[:rows, :columns] for rows, columns in ((48, 64), (32, 32), (70, 40))]
        waves = [30_000 + 9000 * np.sin(y / 3 + x / 20) + 5000 * np.cos(x / x.shape[1]) for y, x in grids]
        return [wave.astype(np.uint16) for wave in waves]

    def read(self, source: Any) -> Sample:
        """One DICOM object, picture or array (see :func:`unimodal.reading.grey.read_grey`).

        Shapes:
            sample.data: (1, Y, X) float32, scaled.

        Raises:
            InputError: the source cannot be opened, is no picture, is damaged, has no pixels, too many or several
                frames.
        """
        grey = self._grey(source)
        if not isinstance(self.window, str):
            dark, bright = reversed(self.window) if grey.inverted else self.window
            intensity = Intensity(dark, bright, "the window asked for")
        else:
            intensity = grey.window if self.window == "auto" else None
            intensity = intensity or robust_intensity(grey.values, inverted=grey.inverted)
        data, record = fit_grey(grey, intensity, size=self.size, fit=self.fit, stride=self.stem.stride)
        return Sample("xray", data, grey.name, record, record.grid[0] * record.grid[1], source)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """One tensor (B, 1, Y, X) when all samples have one size, else a tuple of (1, Y, X).

        Raises:
            ValueError: there are no samples.
        """
        return collated("xray", samples)

    def forward(self, batch: Batch) -> Tokens:
        return tokens_of_cells(batch.data, self._cells, modality="xray")

    def detokenize(self, tokens: Tokens) -> Batch:
        """The scaled pixels whose tokens these are; ``record.units`` gives the detector's values back.

        Raises:
            ValueError: as :func:`unimodal.patches.pictures_from`.
        """
        pictures = [picture.float() for picture in pictures_from(tokens, self.stem)]
        return Batch("xray", in_one(pictures))

    def restore(self, values: Tensor, record: IntensityRecord, *, fill: float | None = None) -> Tensor:
        """See :meth:`unimodal.reading.geometry.ImageRecord.restore`."""
        return record.restore(values, fill=fill)

    def _grey(self, source: Any) -> Grey:
        if isinstance(source, np.ndarray | Pillow.Image):
            return read_grey(source, pixel_limit=self.pixel_limit)
        with ExitStack() as files:
            stream = open_stream(source, files, what="a radiograph", also="a PIL image, an array")
            head = stream.read(132)
            stream.seek(0)
            if is_dicom(head) or head[:2] in BEGINNINGS:
                name = source_name(source)
                return read_dicom_picture(stream, name, frame=self.frame, pixel_limit=self.pixel_limit)
            whole = isinstance(source, str | os.PathLike | bytes | bytearray | memoryview)
            return read_grey(source if whole else stream, pixel_limit=self.pixel_limit)

    def _cells(self, pixels: Tensor) -> Tensor:
        return self.stem(pixels.to(next(self.stem.parameters()).dtype))
