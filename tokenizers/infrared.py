"""Infrared: thermal and infrared pictures as tokens of one channel, and back to the camera's own counts or degrees.

Source: one-channel patches: Zhang et al. 2023, arXiv:2307.10802, sec. 3.2.
Axes: B pictures, Y rows, X columns, D width, N tokens of a picture, S tokens of all pictures.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch.nn as nn
from torch import Tensor

from unimodal.cells import tokens_of_cells
from unimodal.collation import collated, in_one
from unimodal.part import Part
from unimodal.patches import pictures_from
from unimodal.reading.grey import fit_grey, is_deep_grey, read_grey
from unimodal.reading.intensity import Intensity, robust_intensity
from unimodal.reading.intensity_record import IntensityRecord
from unimodal.reading.placing import checked_size
from unimodal.sample import Batch, Sample
from unimodal.stems.patch import PatchStem
from unimodal.tokens import Tokens

__all__ = ["Infrared"]


class Infrared(nn.Module):
    """picture -> fit to a size -> 2 (v - cold) / (warm - cold) - 1 -> stem -> one token a cell, row by row.

    Cold and warm are the ``percent``-th lowest and highest percentiles of the picture, which follow the scene however
    narrow its range is; nothing is clipped, so a small hot target stays as far out as it is. Grey that was stored as
    RGB is one channel again; false colour is read by its luminance, and the record says so.

    Args:
        dim: Width D.
        stem: Turns (B, 1, Y, X) into (B, D, Y // stride, X // stride) and has ``stride`` and ``channels``.
        size: (rows, columns) px, or one number for both; None with ``fit="native"`` only.
        fit: One of crop, resize, inside, native; see :func:`unimodal.reading.placing.placed`. With the default of
            ``inside`` the whole picture is seen, in 196 tokens at most.
        window: The two values that become -1 and 1, for cameras with a fixed scale; None for percentiles.
        percent: In [0, 50).
        pixel_limit: Pictures with more pixels are refused before they are decoded.

    Shapes:
        forward: float (B, 1, Y, X) or B times (1, Y, X), scaled;
            returns (B, N, D) with side.grid, or when sizes differ packed (1, S, D) with side.grids.

    Raises:
        ValueError: an argument or the stem's channels are not as above.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".pgm", ".webp", ".jp2")
    variable: ClassVar[Mapping[str, Any]] = {"size": None, "fit": "native"}

    def __init__(
        self,
        dim: int,
        *,
        stem: Part = Part(PatchStem, channels=1),
        size: tuple[int, int] | int | None = 224,
        fit: str = "inside",
        window: tuple[float, float] | None = None,
        percent: float = 0.5,
        pixel_limit: int = 178_000_000,
    ) -> None:
        super().__init__()
        if window is not None and (len(window) != 2 or window[0] == window[1]):
            raise ValueError(f"window must be two different values, not {window!r}")
        if not 0 <= percent < 50:
            raise ValueError(f"percent must be in [0, 50), not {percent}")
        if pixel_limit < 1:
            raise ValueError(f"pixel_limit must be positive, not {pixel_limit}")
        self.stem = stem(dim)
        if self.stem.channels != 1:
            raise ValueError(f"stem must take 1 channel, not {self.stem.channels}")
        self.size, self.fit = checked_size(size, fit, self.stem.stride), fit
        self.window, self.percent, self.pixel_limit = window, percent, pixel_limit

    @staticmethod
    def claims(path: Path) -> float:
        """A picture is more likely a photo, less so if its grey is deep."""
        if not path.name.lower().endswith(Infrared.suffixes):
            return 0.0
        return 0.25 if is_deep_grey(path) else 0.1

    @staticmethod
    def examples() -> list[np.ndarray]:
        """A warm spot on a slope of temperatures, in degrees, of three sizes."""
        grids = [np.mgrid[:rows, :columns] for rows, columns in ((48, 64), (32, 32), (70, 40))]
        return [(20 + y / 30 + 9 * np.exp(-((y - 12) ** 2 + (x - 9) ** 2) / 20)).astype(np.float32) for y, x in grids]

    def read(self, source: Any) -> Sample:
        """One picture or array (see :func:`unimodal.reading.grey.read_grey`).

        Shapes:
            sample.data: (1, Y, X) float32, scaled.

        Raises:
            InputError: the source cannot be opened, is no picture, is damaged, has no pixels, too many or some that
                are not finite.
        """
        grey = read_grey(source, pixel_limit=self.pixel_limit)
        if self.window is None:
            intensity = robust_intensity(grey.values, percent=self.percent, inverted=grey.inverted)
        else:
            intensity = Intensity(*self.window, "the window asked for")
        data, record = fit_grey(grey, intensity, size=self.size, fit=self.fit, stride=self.stem.stride)
        return Sample("infrared", data, grey.name, record, record.grid[0] * record.grid[1], source)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """One tensor (B, 1, Y, X) when all samples have one size, else a tuple of (1, Y, X).

        Raises:
            ValueError: there are no samples.
        """
        return collated("infrared", samples)

    def forward(self, batch: Batch) -> Tokens:
        return tokens_of_cells(batch.data, self._cells, modality="infrared")

    def detokenize(self, tokens: Tokens) -> Batch:
        """The scaled pixels whose tokens these are; ``record.units`` gives the camera's values back.

        Raises:
            ValueError: as :func:`unimodal.patches.pictures_from`.
        """
        pictures = [picture.float() for picture in pictures_from(tokens, self.stem)]
        return Batch("infrared", in_one(pictures))

    def restore(self, values: Tensor, record: IntensityRecord, *, fill: float | None = None) -> Tensor:
        """See :meth:`unimodal.reading.geometry.ImageRecord.restore`."""
        return record.restore(values, fill=fill)

    def _cells(self, pixels: Tensor) -> Tensor:
        return self.stem(pixels.to(next(self.stem.parameters()).dtype))
