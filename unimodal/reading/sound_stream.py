"""Sound stream: a sound that has been opened, whatever decodes it; its samples come in blocks and mixed to one channel.

Axes: T samples, C channels.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unimodal.errors import InputError

__all__ = ["SoundStream"]

SLACK = 0.05  # s that a coder's delay and the filling of its last frame may take away


@dataclass
class SoundStream:
    """What the header says, and a way to the samples.

    Args:
        name: How messages call it.
        format: Of the file, or of the array.
        rate_hz: Samples a second.
        channels: C.
        frames: Samples a channel; None when the file does not say.
        exact: Whether ``frames`` is a promise, so that fewer of them mean a truncated file, or an estimate.
        blocks: (start, count) -> the samples from ``start`` on as float32 arrays (T, C), full scale being 1.
    """

    name: str
    format: str
    rate_hz: int
    channels: int
    frames: int | None
    exact: bool
    blocks: Callable[[int, int], Iterator[np.ndarray]]

    def mono(self, start: int, count: int) -> Tensor:
        """Up to ``count`` samples from ``start`` on, the mean over channels; no more than a block is held decoded.

        Shapes:
            returns (T,) float32, shorter than ``count`` at the sound's end.

        Raises:
            InputError: the data are damaged, or fewer than the file promises.
        """
        mixed = [torch.from_numpy(block).mean(1) for block in self.blocks(start, count)]
        wave = torch.cat(mixed) if mixed else torch.empty(0)
        if self.exact and self.frames is not None:
            wanted = min(count, self.frames - start)
            if len(wave) < 0.99 * wanted - SLACK * self.rate_hz:
                found, length = (start + len(wave)) / self.rate_hz, self.frames / self.rate_hz
                cause = f"truncated {self.format} data: it ends after {found:.4g} s of {length:.4g} s"
                raise InputError(self.name, cause)
        return wave

    @staticmethod
    def floats(samples: np.ndarray) -> np.ndarray:
        """Samples of any width as float32 with full scale 1; unsigned ones have their zero in the middle."""
        if samples.dtype.kind == "f":
            with np.errstate(over="ignore"):
                return samples.astype(np.float32)
        half = float(2 ** (8 * samples.dtype.itemsize - 1))
        centre = half if samples.dtype.kind == "u" else 0.0
        return ((samples.astype(np.float64) - centre) / half).astype(np.float32)
