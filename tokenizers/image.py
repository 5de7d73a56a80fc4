"""Image: files, arrays and PIL images as tokens, and what belongs to the tokens back in the picture's own pixels.

Source: Dosovitskiy et al. 2020, arXiv:2010.11929, sec. 3.1; native sizes packed into one row: Dehghani et al. 2023,
arXiv:2307.06304, sec. 2.
Axes: B images, Y rows, X columns, D width, P patch size in px, N tokens of an image, S tokens of all images.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn as nn
from PIL import Image as Pillow
from torch import Tensor

from unimodal.cells import tokens_of_cells
from unimodal.collation import collated, in_one
from unimodal.part import Part
from unimodal.patches import pictures_from
from unimodal.reading.channels import Planes, open_planes
from unimodal.reading.geometry import ImageRecord
from unimodal.reading.picture import Picture, open_picture
from unimodal.reading.placing import checked_size, placed
from unimodal.sample import Batch, Sample
from unimodal.stems.patch import PatchStem
from unimodal.tokens import Tokens

__all__ = ["Image"]


class Image(nn.Module):
    """picture -> fit to a size -> (pixels / 255 - mean) / std -> stem -> one token a cell, row by row.

    Fits: ``resize`` to exactly ``size``, whatever the aspect. ``crop``: cut the middle out, of the shape of ``size``
    and of ``crop_fraction`` times the shorter side, and resize it to ``size`` (the cut is made first, at whole pixels
    of the decoded picture; torchvision resizes first). ``inside``: shrink, never enlarge, until the picture lies
    within ``size``, and ``native``: keep its size; both round each side to a multiple of the stem's stride, at
    least one. What was done is exact in the record in any case.

    Everything with state is in ``stem``. A stem with batch statistics takes those of each size by itself.

    Args:
        dim: Width D.
        stem: Turns (B, C, Y, X) into (B, D, Y // stride, X // stride) and has ``stride`` and ``channels``. C is 3 for
            red, green and blue; 1 for grey, 4 and others see :func:`unimodal.reading.channels.open_planes`.
        size: (rows, columns) px, or one number for both; None with ``fit="native"`` only.
        fit: One of crop, resize, inside, native.
        mean: Of each channel (red, green, blue) in 0..1.
        std: Of each channel in 0..1.
        resample: Pillow's name of a filter: nearest, box, bilinear, hamming, bicubic, lanczos.
        crop_fraction: See above, in (0, 1].
        pixel_limit: Pictures with more pixels are refused before they are decoded.

    Shapes:
        forward: uint8 pixels, or floats that are normalised already, (B, C, Y, X) or B times (C, Y, X);
            returns (B, N, D) with side.grid, or when sizes differ packed (1, S, D) with side.grids.

    Raises:
        ValueError: ``size``, ``fit``, ``mean``, ``std``, ``resample``, ``crop_fraction`` or ``pixel_limit`` are not as
            above, or ``mean`` and ``std`` have not as many numbers as the stem has channels.
    """

    suffixes: ClassVar[tuple[str, ...]] = (
        *(".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".ppm", ".pgm", ".jp2"),
    )
    variable: ClassVar[Mapping[str, Any]] = {"size": None, "fit": "native"}

    def __init__(
        self,
        dim: int,
        *,
        stem: Part = Part(PatchStem),
        size: tuple[int, int] | int | None = 224,
        fit: str = "crop",
        mean: tuple[float, ...] = (0.5, 0.5, 0.5),
        std: tuple[float, ...] = (0.5, 0.5, 0.5),
        resample: str = "bicubic",
        crop_fraction: float = 1.0,
        pixel_limit: int = 178_000_000,
    ) -> None:
        super().__init__()
        if resample.upper() not in Pillow.Resampling.__members__:
            known = ", ".join(name.lower() for name in Pillow.Resampling.__members__)
            raise ValueError(f"resample must be one of {known}, not {resample!r}")
        if not 0 < crop_fraction <= 1:
            raise ValueError(f"crop_fraction must be in (0, 1], not {crop_fraction}")
        if pixel_limit < 1:
            raise ValueError(f"pixel_limit must be positive, not {pixel_limit}")
        self.dim = dim
        self.stem = stem(dim)
        count = self.stem.channels
        if len(mean) != count or len(std) != count or min(std) <= 0:
            said = "three numbers" if count == 3 else f"{count} numbers, one a channel"
            raise ValueError(f"mean and std must be {said}, std positive, not {mean} and {std}")
        self.size = checked_size(size, fit, self.stem.stride)
        self.fit, self.resample = fit, Pillow.Resampling[resample.upper()]
        self.crop_fraction, self.pixel_limit = crop_fraction, pixel_limit
        self.mean, self.std = tuple(mean), tuple(std)  # no buffers: casting a model must not round them

    @staticmethod
    def examples() -> list[np.ndarray]:
        """Waves of colour of three sizes."""
        grids = [np.mgrid[:rows, :columns] for rows, columns in ((48, 64), (32, 32), (70, 40))]
        return [np.stack([(3 * y + (2 + c) * x) % 256 for c in range(3)], -1).astype(np.uint8) for y, x in grids]

    def refit(self, *, size: tuple[int, int] | int | None, fit: str) -> "Image":
        """A tokenizer that reads pictures at another size and shares this one's stem (and so its weights)."""
        settings = {"mean": self.mean, "std": self.std, "resample": self.resample.name, "pixel_limit": self.pixel_limit}
        return Image(self.dim, stem=Part(lambda dim: self.stem), size=size, fit=fit, **settings)

    def read(self, source: Any) -> Sample:
        """Decode and fit one picture (see :func:`unimodal.reading.picture.open_picture` for what can be read).

        Shapes:
            sample.data: (C, Y, X) uint8.

        Raises:
            InputError: the source cannot be opened, is no picture, is damaged, has no pixels or too many.
        """
        if self.stem.channels != 3:
            return self._sample(open_planes(source, channels=self.stem.channels, pixel_limit=self.pixel_limit), source)
        with open_picture(source, pixel_limit=self.pixel_limit) as picture:
            return self._sample(picture, source)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """One tensor (B, C, Y, X) when all samples have one size, else a tuple of (C, Y, X).

        Raises:
            ValueError: there are no samples.
        """
        return collated("image", samples)

    def forward(self, batch: Batch) -> Tokens:
        return tokens_of_cells(batch.data, self._cells, modality="image")

    def detokenize(self, tokens: Tokens) -> Batch:
        """uint8 pixels whose tokens these are: the inverse of the patch projection and of the normalisation.

        Prefix tokens are dropped. Values outside 0..255 are clipped. Pixels behind the last whole patch are lost.

        Raises:
            ValueError: the stem is no PatchStem, or its projection has more inputs than it has independent outputs,
                so that different pictures have the same tokens; or the tokens have no lattice.
        """
        std, mean = (torch.tensor(v, dtype=torch.float64).view(-1, 1, 1) for v in (self.std, self.mean))
        pictures = [
            (255 * (pixels * std.to(pixels) + mean.to(pixels))).round_().clamp_(0, 255).to(torch.uint8)
            for pixels in pictures_from(tokens, self.stem)
        ]
        return Batch("image", in_one(pictures))

    def restore(self, values: Tensor, record: ImageRecord, *, fill: float | None = None) -> Tensor:
        """See :meth:`unimodal.reading.geometry.ImageRecord.restore`."""
        return record.restore(values, fill=fill)

    def to_original(self, points: Tensor, record: ImageRecord) -> Tensor:
        """See :meth:`unimodal.reading.geometry.ImageRecord.to_original`."""
        return record.to_original(points)

    def to_model(self, points: Tensor, record: ImageRecord) -> Tensor:
        """See :meth:`unimodal.reading.geometry.ImageRecord.to_model`."""
        return record.to_model(points)

    def _sample(self, picture: Picture | Planes, source: Any) -> Sample:
        width, height = picture.size
        size, box = placed(
            *(width, height), size=self.size, fit=self.fit, stride=self.stem.stride, crop_fraction=self.crop_fraction
        )
        pixels, box = picture.pixels(size, box, self.resample)
        record = ImageRecord(
            width=width,
            height=height,
            size=size,
            scale=((box[2] - box[0]) / size[1], (box[3] - box[1]) / size[0]),
            offset=(box[0], box[1]),
            stride=self.stem.stride,
            mode=picture.mode,
            format=picture.format,
            orientation=picture.orientation,
        )
        return Sample("image", pixels, picture.name, record, record.grid[0] * record.grid[1], source)

    def _cells(self, pixels: Tensor) -> Tensor:
        if not pixels.is_floating_point():
            scale = torch.tensor([1 / (255 * std) for std in self.std], device=pixels.device)
            shift = torch.tensor([-mean / std for mean, std in zip(self.mean, self.std, strict=True)]).to(scale)
            pixels = torch.mul(pixels, scale.view(-1, 1, 1)).add_(shift.view(-1, 1, 1))
        return self.stem(pixels.to(next(self.stem.parameters()).dtype))
