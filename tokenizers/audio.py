"""Audio: sound as a spectrogram, cut into patches like a picture, and what belongs to the patches back in seconds.

Source: Zhang et al. 2023, arXiv:2307.10802, sec. 3.2 (mel filter bank, patches); Gong et al. 2021, arXiv:2104.01778,
sec. 2.1; sounds of different lengths in one row: Dehghani et al. 2023, arXiv:2307.06304, sec. 2.
Axes: B sounds, T samples, M bands, F frames, D width, N tokens of a sound, S tokens of all sounds.
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

from unimodal.cells import tokens_of_cells
from unimodal.collation import collated
from unimodal.part import Part
from unimodal.reach import Reach
from unimodal.reading.sound import read_sound
from unimodal.reading.sound_claim import sound_claim
from unimodal.reading.sound_record import SoundRecord
from unimodal.reading.sound_windows import sound_windows
from unimodal.sample import Batch, Sample
from unimodal.spectra.kaldi_fbank import KaldiFbank
from unimodal.stems.patch import PatchStem
from unimodal.tokens import Tokens

__all__ = ["Audio"]


class Audio(nn.Module):
    """sound -> one channel, ``spectrum.rate_hz`` -> minus its mean -> spectrogram -> stem -> one token a cell.

    The spectrogram is a picture of one channel whose rows are bands, low ones first, and whose columns are frames; so
    is the lattice of the tokens. A sound gets as many cells as its length needs: silence fills up the last one, and
    nothing is padded to a common length.

    With the defaults a cell is 16 bands by 160 ms and a sound of ten seconds has 8 x 63 = 504 tokens. Of a longer one
    :meth:`read` takes the first ``window_s`` seconds, or those from ``start_s`` on, and the record says which;
    :meth:`windows` reads all of it, part by part.

    Args:
        dim: Width D.
        spectrum: Turns (B, T) into (B, M, F); see :mod:`unimodal.spectra.kaldi_fbank` for what it has.
        stem: Turns (B, 1, M, F) into (B, D, rows, columns).
        window_s: Most seconds of a sound that are taken.
        filled: Whether shorter sounds are filled with silence to ``window_s`` (Whisper was trained so).
        centred: Whether the mean of the samples is taken away.

    Shapes:
        forward: samples (B, T), or B times (T,);  returns (B, N, D) with side.grid, or when lengths differ packed
            (1, S, D) with side.grids.

    Raises:
        ValueError: ``window_s`` is not positive or shorter than a cell, or the stem does not take one channel.
    """

    suffixes: ClassVar[tuple[str, ...]] = (
        *(".wav", ".wave", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".m4a", ".aac", ".caf"),
        *(".au", ".snd", ".w64", ".rf64", ".wma", ".mka", ".weba", ".ac3", ".amr"),
    )
    variable: ClassVar[Mapping[str, Any]] = {}
    one_way: ClassVar[str] = "a spectrogram of band energies has lost the phases, and the samples with them"

    def __init__(
        self,
        dim: int,
        *,
        spectrum: Part = Part(KaldiFbank),
        stem: Part = Part(PatchStem, channels=1),
        window_s: float = 10.0,
        filled: bool = False,
        centred: bool = True,
    ) -> None:
        super().__init__()
        self.spectrum = spectrum()
        self.stem = stem(dim)
        if self.stem.channels != 1:
            raise ValueError(f"stem must take 1 channel, not {self.stem.channels}")
        self.reach = Reach(self.stem, (self.spectrum.bands,))
        self.window_s, self.filled, self.centred = window_s, filled, centred
        fewest = self.spectrum.samples(1 if self.spectrum.frames else self.reach.width) / self.spectrum.rate_hz
        if not fewest <= window_s < math.inf:
            raise ValueError(f"window_s must be at least a cell of {fewest} s, not {window_s}")

    @staticmethod
    def claims(path: Path) -> float:
        """See :func:`unimodal.reading.sound_claim.sound_claim`."""
        return sound_claim(path)

    @staticmethod
    def examples() -> list[tuple[np.ndarray, int]]:
        """Rising tones of three lengths, as (samples, rate_hz): 8 kHz, 44.1 kHz in stereo, 16 kHz."""
        sweeps = []
        for seconds, rate, low, high in ((0.4, 8000, 200, 2000), (1.1, 44_100, 100, 8000), (0.7, 16_000, 3000, 400)):
            time = np.arange(round(seconds * rate)) / rate
            sweeps.append((0.3 * np.sin(2 * np.pi * (low + (high - low) * time / (2 * seconds)) * time), rate))
        left, rate = sweeps[1]
        sweeps[1] = (np.stack([left, 0.5 * left], -1), rate)
        return [(samples.astype(np.float32), rate) for samples, rate in sweeps]

    def read(self, source: Any, *, start_s: float = 0.0) -> Sample:
        """Decode one sound, at most ``window_s`` seconds of it (see :func:`unimodal.reading.sound_file.open_sound`).

        Shapes:
            sample.data: (T,) float32, with the silence that fills up the last cell.

        Raises:
            InputError: the source cannot be opened, is no sound, is damaged, has no samples, NaN or infinite ones, or
                ends before ``start_s``.
        """
        spectrum, rate = self.spectrum, self.spectrum.rate_hz
        wave, record, name = read_sound(source, rate_hz=rate, window_s=self.window_s, start_s=start_s)
        mean = float(wave.double().mean()) if self.centred else 0.0
        wave = F.pad(wave - mean if self.centred else wave, (0, max(0, self._length(len(wave)) - len(wave))))
        grid = self.reach.cells(spectrum.count(len(wave)))
        record = dataclasses.replace(
            record,
            samples=len(wave),
            mean=mean,
            grid=grid,
            first_s=spectrum.first_s + (self.reach.width - 1) / 2 * spectrum.hop / rate,
            step_s=self.reach.step * spectrum.hop / rate,
        )
        return Sample("audio", wave, name, record, math.prod(grid), source)

    def windows(self, source: Any) -> Iterator[Sample]:
        """All of a sound, ``window_s`` seconds after ``window_s`` seconds; each record says where it belongs."""
        return sound_windows(self.read, source)

    def collate(self, samples: Sequence[Sample]) -> Batch:
        """One tensor (B, T) when all sounds have one length, else a tuple of (T,).

        Raises:
            ValueError: there are no samples.
        """
        return collated("audio", samples)

    def forward(self, batch: Batch) -> Tokens:
        return tokens_of_cells(batch.data, self._cells, modality="audio")

    def restore(self, values: Tensor, record: SoundRecord, *, rate_hz: float = 100.0) -> Tensor:
        """See :meth:`unimodal.reading.sound_record.SoundRecord.restore`."""
        return record.restore(values, rate_hz=rate_hz)

    def _length(self, samples: int) -> int:
        """Samples that a sound is filled up to."""
        spectrum = self.spectrum
        if self.filled:
            return round(self.window_s * spectrum.rate_hz)
        if spectrum.frames is not None:
            return spectrum.samples(1)
        frames = max(1, spectrum.count(samples))
        return spectrum.samples(self.reach.whole(frames + (spectrum.samples(frames) < samples)))

    def _cells(self, wave_BT: Tensor) -> Tensor:
        picture_B1MF = self.spectrum(wave_BT)[:, None]
        return self.stem(picture_B1MF.to(next(self.stem.parameters()).dtype))
