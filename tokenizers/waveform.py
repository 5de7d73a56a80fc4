"""Waveform: the samples of a sound themselves, a stretch a token, and the samples back from the tokens.

Source: Baevski et al. 2020, arXiv:2006.11477, sec. 2 (samples of zero mean and unit variance, a step of 20 ms); linear
patches as in Dosovitskiy et al. 2020, arXiv:2010.11929, eq. 1, along time.
Axes: B sounds, T samples, D width, N tokens of a sound, S tokens of all sounds.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.cells import projected_from, tokens_of_cells
from unimodal.collation import collated, in_one
from unimodal.part import Part
from unimodal.reach import Reach
from unimodal.reading.sound import read_sound
from unimodal.reading.sound_record import SoundRecord
from unimodal.reading.sound_windows import sound_windows
from unimodal.sample import Batch, Sample
from unimodal.stems.overlapping_patch import OverlappingPatchStem
from unimodal.tokenizers.audio import Audio
from unimodal.tokens import Tokens

__all__ = ["Waveform"]

VARIANCE_FLOOR = 1e-7


class Waveform(nn.Module):
    """sound -> one channel at ``rate_hz`` -> (y - mean) / sqrt(variance + 1e-7) if scaled -> stem -> tokens in time.

    With the defaults a token is a linear map of 320 samples (20 ms) and ten seconds have 500 tokens. Longer sounds are
    taken by parts as in :class:`unimodal.tokenizers.audio.Audio`: :meth:`read` takes the first ``window_s`` seconds,
    or those from ``start_s`` on, and says so in the record; :meth:`windows` reads all of it.

    Args:
        dim: Width D.
        stem: Turns (B, 1, 1, T) into (B, D, 1, N).
        rate_hz: Samples a second.
        window_s: Most seconds of a sound that are taken.
        scaled: Whether the samples get zero mean and unit variance; the record holds both.
        whole: Whether silence fills up the last cell; otherwise samples behind the last whole cell are dropped, as
            wav2vec 2.0 does (a sound shorter than a cell is filled up in any case).

    Shapes:
        forward: samples (B, T), or B times (T,);  returns (B, N, D) with side.grid (N,), or when lengths differ packed
            (1, S, D) with side.grids.

    Raises:
        ValueError: ``rate_hz`` is not positive, ``window_s`` is shorter than a cell, or the stem does not take one
            channel.
    """

    suffixes: ClassVar[tuple[str, ...]] = Audio.suffixes
    variable: ClassVar[Mapping[str, Any]] = {}

    def __init__(
        self,
        dim: int,
        *,
        stem: Part = Part(OverlappingPatchStem, patch=(1, 320), stride=(1, 320), channels=1),
        rate_hz: int = 16_000,
        window_s: float = 10.0,
        scaled: bool = False,
        whole: bool = True,
    ) -> None:
        super().__init__()
        if rate_hz < 1:
            raise ValueError(f"rate_hz must be positive, not {rate_hz}")
        self.stem = stem(dim)
        if self.stem.channels != 1:
            raise ValueError(f"stem must take 1 channel, not {self.stem.channels}")
        self.reach = Reach(self.stem, (1,))
        if not self.reach.width <= window_s * rate_hz < math.inf:
            raise ValueError(f"window_s must be at least a cell of {self.reach.width / rate_hz} s, not {window_s}")
        self.rate_hz, self.window_s, self.scaled, self.whole = rate_hz, window_s, scaled, whole

    @staticmethod
    def claims(path: Path) -> float:
        """Sounds are spectrograms (:mod:`unimodal.tokenizers.audio`) unless somebody asks for samples."""
        return 0.1

    @staticmethod
    def examples() -> list[tuple[np.ndarray, int]]:
        """See :meth:`unimodal.tokenizers.audio.Audio.examples`."""
        return Audio.examples()

    def read(self, source: Any, *, start_s: float = 0.0) -> Sample:
        """Decode one sound, at most ``window_s`` seconds of it (see :func:`unimodal.reading.sound_file.open_sound`).

        Shapes:
            sample.data: (T,) float32.

        Raises:
            InputError: as :meth:`unimodal.tokenizers.audio.Audio.read`.
        """
        wave, record, name = read_sound(source, rate_hz=self.rate_hz, window_s=self.window_s, start_s=start_s)
        mean, scale = 0.0, 1.0
        if self.scaled:
            mean = float(wave.double().mean())
            scale = math.sqrt(float(wave.double().var(correction=0)) + VARIANCE_FLOOR)
            wave = (wave - mean) / scale
        length = self.reach.whole(len(wave)) if self.whole else self.reach.width
        wave = F.pad(wave, (0, max(0, length - len(wave))))
        grid = self.reach.cells(len(wave))[-1:]
        record = dataclasses.replace(
            record,
            samples=len(wave),
            mean=mean,
            scale=scale,
            grid=grid,
            first_s=self.reach.width / 2 / self.rate_hz,
            step_s=self.reach.step / self.rate_hz,
        )
        return Sample("waveform", wave, name, record, grid[0], source)

    def windows(self, source: Any) -> Iterator[Sample]:
        """All of a sound, ``window_s`` seconds after ``window_s`` seconds; each record says where it belongs."""
        return sound_windows(self.read, source)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """One tensor (B, T) when all sounds have one length, else a tuple of (T,).

        Raises:
            ValueError: there are no samples.
        """
        return collated("waveform", samples)

    def forward(self, batch: Batch) -> Tokens:
        return tokens_of_cells(batch.data, self._cells, modality="waveform")

    def detokenize(self, tokens: Tokens) -> Batch:
        """The samples whose tokens these are; :meth:`unimodal.reading.sound_record.SoundRecord.amplitude` unscales
        them.

        Raises:
            ValueError: the stem's patches are not side by side, or its projection has fewer independent outputs than
                a patch has samples.
        """
        stem = self.stem
        if not isinstance(stem, OverlappingPatchStem) or stem.patch != stem.stride:
            raise ValueError(f"only patches side by side can be inverted, and the stem is {stem}")
        project = stem.project
        waves = [projected_from(x_ND, project.weight, project.bias).flatten() for x_ND in tokens.lattice().split()]
        waves = [wave.to(tokens.x.dtype) for wave in waves]
        return Batch("waveform", in_one(waves))

    def restore(self, values: Tensor, record: SoundRecord, *, rate_hz: float = 100.0) -> Tensor:
        """See :meth:`unimodal.reading.sound_record.SoundRecord.restore`."""
        return record.restore(values, rate_hz=rate_hz)

    def _cells(self, wave_BT: Tensor) -> Tensor:
        picture_B11T = wave_BT[:, None, None].to(next(self.stem.parameters()).dtype)
        return self.stem(picture_B11T).flatten(2)
