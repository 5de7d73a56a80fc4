"""Log-mel spectrogram: decadic logarithms of mel bands, cut 80 dB below the loudest, as Whisper hears.

Source: Radford et al. 2022, arXiv:2212.04356, sec. 2.2 (80 bands, 25 ms windows every 10 ms, scaled to about -1..1);
the bands are Slaney's (Auditory Toolbox, 1998), of equal area.
Axes: B sounds, T samples, F frames, K lines of the spectrum, M mel bands.
"""

import math

import numpy as np
import torch
import torch.nn as nn
from torch import Tensor

__all__ = ["LogMel"]

WINDOW, HOP = 0.025, 0.01  # s


class LogMel(nn.Module):
    """x_MF = (max(l, max l - 8) + 4) / 4,  l = log10 max(sum_k bank_Mk |stft_kF|^2, 1e-10).

    Frames are centred on every 10 ms, the first on the first sample; the sound is mirrored at its ends. The maximum is
    that of the whole sound, so a loud place anywhere in it raises the floor everywhere.

    Args:
        rate_hz: Samples a second.
        bands: M.
        highest_hz: Where the last band ends.

    Shapes:
        wave: (B, T), full scale 1;  returns (B, M, T // hop) in float32 (float64 for float64).

    Raises:
        ValueError: bands or rate are too small, or the sound is shorter than a frame.
    """

    def __init__(self, *, rate_hz: int = 16_000, bands: int = 80, highest_hz: float = 8000.0) -> None:
        super().__init__()
        if bands < 1 or rate_hz < 1000 or not 0 < highest_hz <= rate_hz / 2:
            given = f"bands={bands}, rate_hz={rate_hz}, highest_hz={highest_hz}"
            raise ValueError(f"bands must be positive, rate_hz 1000 or more, highest_hz within its half, not {given}")
        self.rate_hz, self.bands, self.frames = rate_hz, bands, None
        self.window, self.hop = round(WINDOW * rate_hz), round(HOP * rate_hz)
        # No buffers: casting a model must not round them.
        shape_W = 0.5 - 0.5 * np.cos(2 * math.pi * np.arange(self.window) / self.window)
        self.shape_W = torch.from_numpy(shape_W.astype(np.float32))
        self.bank_MK = torch.from_numpy(_triangles(bands, self.window, rate_hz, highest_hz).astype(np.float32))

    @property
    def first_s(self) -> float:
        """The middle of the first frame, seconds."""
        return 0.0

    def count(self, samples: int) -> int:
        """Frames of a sound of so many samples."""
        return samples // self.hop if samples > self.window // 2 else 0

    def samples(self, frames: int) -> int:
        """The fewest samples that have so many frames."""
        return max(frames * self.hop, self.window // 2 + 1)

    def forward(self, wave: Tensor) -> Tensor:
        if wave.shape[-1] <= self.window // 2:
            raise ValueError(f"wave must have more than {self.window // 2} samples, not {wave.shape[-1]}")
        wave = wave.to(torch.promote_types(wave.dtype, torch.float32))
        lines_BKF = torch.stft(wave, self.window, self.hop, window=self.shape_W.to(wave), return_complex=True)
        power_BKF = lines_BKF[..., :-1].abs().square()
        log_BMF = (self.bank_MK.to(wave) @ power_BKF).clamp(min=1e-10).log10()
        floor_B11 = log_BMF.amax((-2, -1), keepdim=True) - 8.0
        return (torch.maximum(log_BMF, floor_B11) + 4.0) / 4.0


def _triangles(bands: int, points: int, rate_hz: int, highest_hz: float) -> np.ndarray:
    """(M, K) weights of the spectrum's lines: triangles in Hz between equal steps of mel, 2 / width high."""
    edges = np.array([_hertz(mel) for mel in np.linspace(0.0, _mel(highest_hz), bands + 2)])
    line_K = np.linspace(0.0, rate_hz / 2, points // 2 + 1)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangle = np.minimum((line_K - low) / (middle - low), (high - line_K) / (high - middle))
    return np.maximum(0.0, triangle) * (2.0 / (high - low))


def _mel(hertz: float) -> float:
    """Straight up to 1 kHz (15 mel), then 27 steps for each factor of 6.4."""
    return hertz / (200.0 / 3) if hertz < 1000 else 15.0 + 27.0 * math.log(hertz / 1000.0) / math.log(6.4)


def _hertz(mel: float) -> float:
    return mel * (200.0 / 3) if mel < 15 else 1000.0 * 6.4 ** ((mel - 15.0) / 27.0)
