"""CT: computed tomography, magnetic resonance and other scans of voxels as tokens, and back onto the scan's own grid.

Source: boxes of voxels: Hatamizadeh et al. 2021, arXiv:2103.10504, sec. 3.1; Hounsfield units: DICOM PS3.3 C.11.1.1.2.
Axes: B scans, Z Y X voxels superior, anterior and right, D width, N tokens of a scan, S tokens of all scans.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch.nn as nn
from torch import Tensor

from unimodal.cells import projected_from, tokens_of_cells
from unimodal.collation import collated, in_one
from unimodal.errors import InputError
from unimodal.part import Part
from unimodal.patches import unpatchify
from unimodal.reading.dicom import RADIOGRAPHS, dicom_modality
from unimodal.reading.intensity import Intensity, robust_intensity
from unimodal.reading.nifti import is_nifti
from unimodal.reading.volume import Volume
from unimodal.reading.volume_grid import axis_grid, resample_volume
from unimodal.reading.volume_record import VolumeRecord
from unimodal.reading.volume_source import read_volume
from unimodal.sample import Batch, Sample
from unimodal.stems.tubelet import TubeletStem
from unimodal.tokens import Tokens

__all__ = ["CT"]

FITS, AIR = ("inside", "crop", "native"), -1024.0
WINDOWS = ("auto", "hounsfield", "relative")
SCANS = frozenset({"CT", "MR", "PT", "NM", "SEG", "RTDOSE", "OPT"})


class CT(nn.Module):
    """scan -> axes superior, anterior, right -> working grid -> 2 (v - dark) / (bright - dark) - 1 -> stem -> tokens.

    The working grid keeps the scan's spacing (or takes ``spacing``) as long as it lies within ``size``. An axis with
    more voxels is shrunk to ``size`` by averaging (``inside``), or its middle is taken (``crop``); ``native`` has no
    bound. Axes are filled up to a multiple of the stem's stride with their last voxels, so one slice becomes a box of
    that slice. What was done is exact in the record.

    Hounsfield units run from -1024 (air, also for padding and what lies below it) to 1024 at 1, and beyond it where
    something is denser. Values without a unit run from their 0.5th to their 99.5th percentile. ``auto`` decides by
    the modality, or where a file tells none, by whether there are values as low as air's.

    Args:
        dim: Width D.
        stem: Turns (B, 1, Z, Y, X) into (B, D, ...) and has ``stride`` for each axis and ``channels``; if its
            ``axes`` are (2, 3), a scan of one slice is given to it as (B, 1, Y, X).
        size: The most voxels (z, y, x) of the working grid; None with ``fit="native"`` only. The default and the
            default stem give 512 tokens at most.
        fit: One of inside, crop, native.
        spacing: (z, y, x) mm of the working grid; None keeps the scan's.
        window: auto, hounsfield, relative, or the two values that become -1 and 1.
        frame: Which volume of a source with several (times, echoes); None refuses them.
        voxel_limit: Scans with more voxels are refused before they are decoded.

    Shapes:
        forward: float (B, 1, Z, Y, X) or B times (1, Z, Y, X), scaled; returns (B, N, D) with side.grid, or when
            sizes differ packed (1, S, D) with side.grids, always of three axes.

    Raises:
        ValueError: an argument, or the stem's channels or stride, are not as above.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".dcm", ".dicom", ".ima", ".nii", ".nii.gz", ".nrrd", ".nhdr")
    variable: ClassVar[Mapping[str, Any]] = {
        "stem": Part(TubeletStem, patch=(4, 8, 8), channels=1),
        "size": None,
        "fit": "native",
    }

    def __init__(
        self,
        dim: int,
        *,
        stem: Part = Part(TubeletStem, patch=(8, 16, 16), channels=1),
        size: tuple[int, int, int] | None = (64, 128, 128),
        fit: str = "inside",
        spacing: tuple[float, float, float] | None = None,
        window: str | tuple[float, float] = "auto",
        frame: int | None = None,
        voxel_limit: int = 2**28,
    ) -> None:
        super().__init__()
        if fit not in FITS:
            raise ValueError(f"fit must be one of {', '.join(FITS)}, not {fit!r}")
        if (size is None) != (fit == "native"):
            raise ValueError(f"size must be {'None' if fit == 'native' else 'given'} with fit={fit!r}, not {size!r}")
        if spacing is not None and (len(spacing) != 3 or min(spacing) <= 0):
            raise ValueError(f"spacing must be three positive numbers of mm, not {spacing!r}")
        if window not in WINDOWS if isinstance(window, str) else len(window) != 2 or window[0] == window[1]:
            raise ValueError(f"window must be one of {', '.join(WINDOWS)} or two different values, not {window!r}")
        if voxel_limit < 1:
            raise ValueError(f"voxel_limit must be positive, not {voxel_limit}")
        self.stem = stem(dim)
        if self.stem.channels != 1:
            raise ValueError(f"stem must take 1 channel, not {self.stem.channels}")
        if not isinstance(self.stem.stride, tuple) or len(self.stem.stride) != 3:
            raise ValueError(f"stem must take volumes, with a stride an axis, not {self.stem.stride!r}")
        self.stride: tuple[int, int, int] = self.stem.stride
        if size is not None and (len(size) != 3 or any(n < s for n, s in zip(size, self.stride, strict=True))):
            raise ValueError(f"size must be three numbers of at least the stem's stride {self.stride}, not {size!r}")
        axes = getattr(self.stem, "axes", 3)
        self.planar = isinstance(axes, tuple) and 2 in axes
        self.size, self.fit, self.spacing, self.window = size, fit, spacing, window
        self.frame, self.voxel_limit = frame, voxel_limit

    @staticmethod
    def claims(path: Path) -> float:
        """By the magic words of DICOM (with a scanner's modality), NIfTI and NRRD.

        A folder is one scan if half of the first files in it are DICOM, or if it holds nothing but such a folder.
        """
        with suppress(OSError):
            if path.is_dir():
                held = sorted(entry for entry in islice(path.iterdir(), 50) if not entry.name.startswith("."))
                if len(held) == 1 and held[0].is_dir():
                    return CT.claims(held[0])
                files = [entry for entry in held if entry.is_file()]
                scans = [CT.claims(file) for file in files if dicom_modality(file)]
                return max(scans) if scans and 2 * len(scans) >= len(files) else 0.0
            modality = dicom_modality(path)
            if modality is not None:
                return 0.05 if modality in RADIOGRAPHS else 0.95 if modality in SCANS else 0.5
            with path.open("rb") as file:
                head = file.read(560)
            if head[:4] == b"NRRD" or is_nifti(head):
                return 0.9
            return 0.6 if path.name.lower().endswith((".nii.gz", *CT.suffixes)) else 0.0
        return 0.0

    @staticmethod
    def examples() -> list[tuple[np.ndarray, tuple[float, float, float]]]:
        """Balls of tissue and bone in air, of three sizes and spacings, and a slab of waves without a unit."""
        made = []
        sizes = ((12, 40, 48), (3.0, 1.0, 1.0)), ((4, 32, 32), (5.0, 0.7, 0.7)), ((9, 21, 50), (1.0, 1.0, 1.0))
        for shape, spacing in sizes:
            z, y, x = np.mgrid[tuple(slice(-1, 1, n * 1j) for n in shape)]
            far = np.sqrt(z * z + y * y + x * x)
            made.append((np.where(far < 0.4, 700, np.where(far < 0.9, 40, -1000)).astype(np.int16), spacing))
        z, y, x = np.mgrid[:8, :24, :24]
        return [*made, ((np.sin(z / 2) + np.cos(y / 3 + x / 5)).astype(np.float32), (2.0, 2.0, 2.0))]

    def read(self, source: Any) -> Sample:
        """Decode one scan (see :func:`unimodal.reading.volume_source.read_volume` for what can be read) onto the
        working grid.

        Shapes:
            sample.data: (1, Z, Y, X) float32, scaled; (1, Y, X) of one slice for a stem of both.

        Raises:
            InputError: the source cannot be read as one scan, or has infinite values or none at all; NaN is padding.
        """
        volume = read_volume(source, frame=self.frame, voxel_limit=self.voxel_limit)
        turned, axes, flips = volume.canonical()
        intensity, kind = self._intensity(volume, turned)
        turned, notes = _without_gaps(volume, turned, kind)
        steps = np.linalg.norm(volume.affine[:3, :3], axis=0)[list(axes)]
        flat = self.planar and turned.shape[0] == 1
        stride = (1, *self.stride[1:]) if flat else self.stride
        z, y, x = (
            axis_grid(
                n,
                stride=stride[i],
                most=None if self.size is None else self.size[i],
                fit=self.fit,
                stretch=1.0 if self.spacing is None or (flat and i == 0) else steps[i] / self.spacing[i],
            )
            for i, n in enumerate(turned.shape)
        )
        if z.filled * y.filled * x.filled > self.voxel_limit:
            cause = f"needs {z.filled} x {y.filled} x {x.filled} voxels at a spacing of {self.spacing} mm"
            raise InputError(volume.name, cause, f"voxel_limit allows {self.voxel_limit}")
        data = intensity.apply(resample_volume(turned, (z, y, x)))
        i, j, k = volume.values.shape
        record = VolumeRecord(
            shape=(i, j, k),
            affine=tuple(tuple(row) for row in volume.affine.tolist()),
            axes=axes,
            flips=flips,
            size=(z.filled, y.filled, x.filled),
            scale=(z.scale, y.scale, x.scale),
            offset=(float(z.begin), float(y.begin), float(x.begin)),
            stride=(stride[0], stride[1], stride[2]),
            intensity=intensity,
            kind=kind,
            format=volume.format,
            modality=volume.modality,
            notes=(*volume.notes, *notes),
        )
        cost = record.grid[0] * record.grid[1] * record.grid[2]
        return Sample("ct", data[:, 0] if flat else data, volume.name, record, cost, source)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """One tensor (B, 1, Z, Y, X) when all samples have one size, else a tuple of (1, Z, Y, X).

        Raises:
            ValueError: there are no samples.
        """
        return collated("ct", samples)

    def forward(self, batch: Batch) -> Tokens:
        return tokens_of_cells(batch.data, self._cells, modality="ct")

    def detokenize(self, tokens: Tokens) -> Batch:
        """The scaled voxels whose tokens these are; ``record.units`` gives their own units back. Prefixes are dropped.

        Raises:
            ValueError: the stem is no TubeletStem, or its projection has more inputs than it has independent outputs;
                or the tokens have no lattice.
        """
        if not isinstance(self.stem, TubeletStem):
            raise ValueError(f"only a TubeletStem can be inverted, and the stem is a {type(self.stem).__name__}")
        tokens, scans = tokens.lattice(), []
        for x_ND, grid in zip(tokens.split(), tokens.side.lattices(tokens.sequences), strict=True):
            values_NK = projected_from(x_ND, self.stem.project.weight, self.stem.project.bias)
            scans.append(unpatchify(values_NK[None], grid, self.stride)[0].float())
        return Batch("ct", in_one(scans))

    def restore(self, values: Tensor, record: VolumeRecord, *, fill: float | None = None) -> Tensor:
        """See :meth:`unimodal.reading.volume_record.VolumeRecord.restore`."""
        return record.restore(values, fill=fill)

    def _cells(self, voxels: Tensor) -> Tensor:
        cells = self.stem(voxels.to(next(self.stem.parameters()).dtype))
        return cells if cells.ndim == 5 else cells.unsqueeze(2)

    def _intensity(self, volume: Volume, values: np.ndarray) -> tuple[Intensity, str]:
        if values.dtype.kind == "f":
            if np.isinf(values).any():
                raise InputError(volume.name, f"has {int(np.isinf(values).sum())} infinite voxels", "replace them")
            if np.isnan(values).all():
                raise InputError(volume.name, f"has {values.size} voxels and none with a value (all are NaN)")
        units = volume.modality == "CT" or (volume.modality is None and float(np.nanmin(values)) <= -500)
        if self.window in ("hounsfield", "relative"):
            units = self.window == "hounsfield"
        kind = "hounsfield" if units else "relative"
        if not isinstance(self.window, str):
            return Intensity(*self.window, "the window asked for", "HU" if units else ""), kind
        if units:
            return Intensity(AIR, -AIR, "Hounsfield units", "HU"), kind
        return robust_intensity(values, inverted=volume.inverted), kind


def _without_gaps(volume: Volume, values: np.ndarray, kind: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Padding as the darkest value; in Hounsfield units, everything below air as air."""
    padding = np.isnan(values) if values.dtype.kind == "f" else np.zeros(0, bool)
    count = int(padding.sum())
    darkest = AIR if kind == "hounsfield" else (np.nanmax if volume.inverted else np.nanmin)(values)
    if count:
        values = np.where(padding, values.dtype.type(darkest), values)
    notes = (f"{count} padding voxels were read as {darkest:g}",) if count else ()
    if kind == "hounsfield" and values.dtype.kind != "u" and values.min() < AIR:
        notes = (*notes, f"{int((values < AIR).sum())} voxels below {AIR:g} HU were read as air")
        values = np.maximum(values, values.dtype.type(AIR))
    return values, notes
