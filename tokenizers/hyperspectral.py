"""Hyperspectral: cubes of rows, columns and bands as one token a small patch and group of neighbouring bands.

Source: Zhang et al. 2023, arXiv:2307.10802, sec. 3.2 (tokens of the spectra of pixels and their neighbours); Hong et
al. 2021, arXiv:2107.02988, sec. III (groups of neighbouring bands). Groups do not overlap here, so tokens invert.
Axes: B cubes, G band groups, R rows and C columns of cells, D width, b, y, x bands, rows and columns filled up.
"""

import mmap
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn as nn
from torch import Tensor

from unimodal.cells import projected_from, tokens_of_cells
from unimodal.collation import as_their_tokens, collated, in_one
from unimodal.errors import InputError
from unimodal.part import Part
from unimodal.reading.cube import AXES, open_cube
from unimodal.reading.cube_record import CubeRecord
from unimodal.reading.envi import envi_header
from unimodal.reading.opening import told
from unimodal.reading.tiff_bands import tiff_pages
from unimodal.sample import Batch, Sample
from unimodal.stems.tubelet import TubeletStem
from unimodal.tokens import Tokens

__all__ = ["Hyperspectral"]

FITS = ("spread", "centre", "native")


class Hyperspectral(nn.Module):
    """cube -> part of at most ``most`` tokens -> (value - centre) / scale -> linear on bands x rows x columns.

    Fits: ``spread`` takes every n-th row and column, with the smallest n that is enough, so that the whole scene is
    seen and no spectrum is a mixture of its neighbours; ``centre`` takes the middle at full resolution; ``native``
    takes all. Bands are never skipped, but for those that the file marks as bad and those without any value. The
    record says what was taken.

    A missing value (NaN, infinite, the file's own value for it) is interpolated along its pixel's spectrum, and is
    missing again on the way back. Bands, rows and columns are filled up to whole cells with copies of the last.

    Args:
        dim: Width D.
        stem: Turns (B, 1, b, y, x) into (B, D, G, R, C), and has ``stride`` (bands, rows, columns of a cell) and
            ``channels``.
        most: Most tokens of a cube.
        fit: One of spread, centre, native.
        bands: Which axis of an array, NPY, NPZ or MAT are the bands: last, first or middle.
        array: The name of the array in NPZ and MAT files that have several of three axes.
        scale: ``cube``: one mean and standard deviation, which keeps the shape of spectra; ``band``: those of each
            band, which takes the mean spectrum away; or (mean, standard deviation).

    Shapes:
        forward: (B, 1, b, y, x) or B times (1, b, y, x), scaled;  returns (B, G R C, D) with side.grid (G, R, C), or
            when sizes differ packed (1, S, D) with side.grids; side.positions (.., 1) are wavelengths in nm where
            those of all cubes are known.

    Raises:
        ValueError: a setting is not as above, or the stem takes more than one channel.
        InputError: :meth:`read` gets no cube (see :func:`unimodal.reading.cube.open_cube`), one without any value, or
            one with more groups of bands than ``most``.
    """

    suffixes: ClassVar[tuple[str, ...]] = (
        *(".hdr", ".img", ".dat", ".raw", ".bsq", ".bil", ".bip", ".npy", ".npz", ".mat", ".tif", ".tiff"),
    )
    variable: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self,
        dim: int,
        *,
        stem: Part = Part(TubeletStem, patch=(8, 3, 3), channels=1),
        most: int = 512,
        fit: str = "spread",
        bands: str = "last",
        array: str | None = None,
        scale: str | tuple[float, float] = "cube",
    ) -> None:
        super().__init__()
        if fit not in FITS or bands not in AXES:
            raise ValueError(
                f"fit must be one of {', '.join(FITS)}, bands of {', '.join(AXES)}, not {fit!r}, {bands!r}"
            )
        if most < 1:
            raise ValueError(f"most must be positive, not {most}")
        if scale not in ("cube", "band") and (isinstance(scale, str) or len(scale) != 2 or scale[1] <= 0):
            raise ValueError(f"scale must be cube, band or (mean, positive standard deviation), not {scale!r}")
        self.stem = stem(dim)
        if self.stem.channels != 1:
            raise ValueError(f"stem must take 1 channel (bands are its first axis), not {self.stem.channels}")
        self.most, self.fit, self.bands, self.array, self.scale = most, fit, bands, array, scale

    @staticmethod
    def claims(path: Path) -> float:
        """Sure of ENVI files, fairly of arrays of three axes with more than 16 last; it looks at headers only."""
        suffix = path.suffix.lower()
        try:
            if envi_header(path) is not None:
                return 0.9
            if suffix in (".tif", ".tiff"):
                with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    return 0.9 if next(tiff_pages(content)).get(277, (1,))[0] > 4 else 0.1
            if suffix in (".npy", ".npz"):
                return 0.7 if any(len(shape) == 3 and shape[2] > 16 for shape in _shapes(path)) else 0.05
            with path.open("rb") as file:
                return 0.6 if file.read(6) == b"MATLAB" else 0.05
        except Exception:  # whatever is wrong with the file: reading it will tell
            return 0.05

    @staticmethod
    def examples() -> list[Any]:
        """Smooth spectra over three sizes of scenes, one with wavelengths and a missing value."""
        cubes = []
        for rows, columns, bands in ((6, 9, 24), (5, 4, 19), (1, 1, 40)):
            y, x, b = np.mgrid[:rows, :columns, :bands].astype(np.float32)
            cubes.append(1000 + 300 * np.sin(0.3 * b + 0.5 * y) + 40 * x)
        cubes[0][1, 2, 3] = np.nan
        return [{"cube": cubes[0], "wavelengths": np.linspace(400, 900, 24)}, cubes[1], cubes[2]]

    def read(self, source: Any) -> Sample:
        """Read a part of one cube (see :func:`unimodal.reading.cube.open_cube` for what can be read).

        Shapes:
            sample.data: (1, b, y, x) float32.
        """
        cube = open_cube(source, bands=self.bands, array=self.array)
        size = cube.values.shape
        kept = np.arange(size[2]) if cube.good is None else np.flatnonzero(cube.good)
        rows, columns = self._part(cube.name, size[0], size[1], max(1, len(kept)))
        try:
            with np.errstate(invalid="ignore"):  # NaN of a kind that signals
                part = np.asarray(cube.values[slice(*rows), slice(*columns)]).astype(np.float64)[..., kept]
        except (OSError, ValueError, MemoryError) as error:
            raise InputError(cube.name, f"cannot be read ({told(error)})") from error
        missing = ~np.isfinite(part) | (part == cube.ignore if cube.ignore is not None else False)
        held = ~missing.all((0, 1))
        if not held.any():
            raise InputError(cube.name, "has no values (all are missing or of bad bands)")
        part, missing, kept = part[..., held], missing[..., held], kept[held]
        centre, scale = self._scale(part, missing)
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = (_filled(part, missing) - centre) / scale
        if not np.isfinite(scaled).all() or np.abs(scaled).max() > 1e30:
            raise InputError(cube.name, "has values that are too large for their scale", "mark them as missing (NaN)")
        cell, waves = self.stem.stride, None if cube.wavelengths is None else cube.wavelengths[kept]
        fill = [(0, -length % step) for length, step in zip(scaled.shape, (cell[1], cell[2], cell[0]), strict=True)]
        data = np.pad(scaled, fill, mode="edge").transpose(2, 0, 1)[None].astype(np.float32)
        absent = missing if missing.any() else None
        places = tuple(int(i) for i in kept)
        record = CubeRecord(cube.name, size, rows, columns, places, centre, scale, absent, waves, cell)
        return Sample("hyperspectral", torch.from_numpy(data), cube.name, record, int(np.prod(record.grid)), source)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """One tensor (B, 1, b, y, x) when all parts have one size, else a tuple; wavelengths in extra["positions"].

        Raises:
            ValueError: there are no samples.
        """
        batch = collated("hyperspectral", samples)
        waves = [record.token_wavelengths() for record in batch.records]
        known = [wave for wave in waves if wave is not None]
        return replace(batch, extra={"positions": as_their_tokens(known, batch)}) if len(known) == len(waves) else batch

    def forward(self, batch: Batch) -> Tokens:
        tokens = tokens_of_cells(batch.data, self._embed, modality="hyperspectral")
        positions = batch.extra.get("positions")
        return tokens if positions is None else tokens.replace(positions=positions)

    def detokenize(self, tokens: Tokens) -> Batch:
        """The scaled part whose tokens these are; ``record.restore(part)`` gives it in the cube's own numbers.

        Raises:
            ValueError: the stem is no TubeletStem, or has more values a cell than the width; or the tokens have no
                lattice.
        """
        if not isinstance(self.stem, TubeletStem):
            raise ValueError(f"only a TubeletStem can be inverted, and the stem is a {type(self.stem).__name__}")
        project, cell, tokens = self.stem.project, self.stem.stride, tokens.lattice()
        found = []
        for x_ND, grid in zip(tokens.split(), tokens.side.lattices(tokens.sequences), strict=True):
            values = projected_from(x_ND, project.weight, project.bias).float().reshape(*grid, *cell)
            values = values.permute(0, 3, 1, 4, 2, 5)  # G, bands, R, rows, C, columns
            found.append(values.flatten(4, 5).flatten(2, 3).flatten(0, 1)[None])
        return Batch("hyperspectral", in_one(found))

    def _embed(self, values: Tensor) -> Tensor:
        return self.stem(values.to(next(self.stem.parameters()).dtype))

    def _part(self, name: str, rows: int, columns: int, bands: int) -> tuple[tuple[int, int, int], ...]:
        """(first, behind the last, step) of the rows and of the columns that are taken."""
        depth, high, wide = self.stem.stride
        groups = -(-bands // depth)
        if self.fit == "native":
            return (0, rows, 1), (0, columns, 1)
        if groups > self.most:
            cause = f"has {bands} bands, which are {groups} groups of {depth}"
            raise InputError(name, cause, f"take wider groups (stem) or allow more than {self.most} tokens (most)")
        cells = self.most // groups
        if self.fit == "centre":
            tall = min(max(1, int((cells * rows * wide / (columns * high)) ** 0.5)), cells, -(-rows // high))
            across = min(cells // tall, -(-columns // wide))
            return _middle(rows, min(rows, tall * high)), _middle(columns, min(columns, across * wide))
        step = 1
        while -(-rows // (step * high)) * -(-columns // (step * wide)) > cells:
            step += 1
        return tuple((((length - 1) % step) // 2, length, step) for length in (rows, columns))

    def _scale(self, part: np.ndarray, missing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if not isinstance(self.scale, str):
            return np.asarray(float(self.scale[0])), np.asarray(float(self.scale[1]))
        held = np.ma.array(part, mask=missing)
        axes = (0, 1) if self.scale == "band" else None
        with np.errstate(over="ignore", invalid="ignore"):
            centre, scale = np.asarray(held.mean(axes), np.float64), np.asarray(held.std(axes), np.float64)
        return centre, np.where(scale > 1e-12 * np.abs(centre), scale, 1.0)


def _middle(length: int, count: int) -> tuple[int, int, int]:
    first = (length - count) // 2
    return first, first + count, 1


def _filled(part: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Missing values interpolated along the spectrum of their pixel; a pixel without any gets each band's mean."""
    if not missing.any():
        return part
    part, places = part.copy(), np.arange(part.shape[2])
    means = np.ma.array(part, mask=missing).mean((0, 1)).filled(0.0)
    for y, x in np.argwhere(missing.any(2)):
        lost = missing[y, x]
        part[y, x, lost] = means[lost] if lost.all() else np.interp(places[lost], places[~lost], part[y, x, ~lost])
    return part


def _shapes(path: Path) -> list[tuple[int, ...]]:
    """The shapes that an NPY file's header, or those of an NPZ file's arrays, state."""
    if path.suffix.lower() == ".npy":
        with path.open("rb") as file:
            return [_shape(file)]
    with zipfile.ZipFile(path) as archive:
        shapes = []
        for name in archive.namelist()[:20]:
            with archive.open(name) as file:
                shapes.append(_shape(file))
        return shapes


def _shape(file: Any) -> tuple[int, ...]:
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return header(file)[0]
