"""Kaldi filter bank: logarithmic energies in mel bands, as Kaldi and the audio spectrogram transformer compute them.

Source: Gong et al. 2021, arXiv:2104.01778, sec. 2.1 (128 bands, 25 ms Hamming there, Hanning in the released code,
every 10 ms); Zhang et al. 2023, arXiv:2307.10802, sec. 3.2; the steps are those of Kaldi's
compute-fbank-feats (Povey et al. 2011).
Axes: B sounds, T samples, F frames, W samples of a frame, N of the Fourier transform, M mel bands.
"""

import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

__all__ = ["KaldiFbank"]


class KaldiFbank(nn.Module):
    """x_MF = (log max(sum_k bank_Mk |rfft(window (y - 0.97 y_before))_k|^2, eps) - mean) / std, y = frame - its mean.

    Only frames that lie wholly within the sound count, and the sample before a frame's first is taken to be equal to
    it. The triangles of the bank are straight in mel, from 20 Hz to half the rate. A constant added to the sound
    changes nothing, as the mean of every frame is taken away.

    The released code of AST calls ``std`` twice the standard deviation of the values, so that they have a standard
    deviation of a half; both defaults are its numbers for AudioSet. It also fills features up to 1024 frames with
    log energies of 0 (before the scaling), which ``frames`` does.

    Args:
        rate_hz: Samples a second.
        bands: M.
        frames: F of every sound, longer ones being cut, or None for as many as there are.
        mean: Of log energies.
        std: Of log energies.

    Shapes:
        wave: (B, T), full scale 1;  returns (B, M, F) in float32 (float64 for float64).

    Raises:
        ValueError: bands, frames, rate or std are not positive, or the sound is shorter than a frame.
    """

    def __init__(
        self,
        *,
        rate_hz: int = 16_000,
        bands: int = 128,
        frames: int | None = None,
        mean: float = -4.2677393,
        std: float = 9.1379948,
    ) -> None:
        super().__init__()
        if bands < 4 or rate_hz < 1000 or std <= 0 or (frames is not None and frames < 1):
            given = f"bands={bands}, rate_hz={rate_hz}, std={std}, frames={frames}"
            raise ValueError(f"bands must be 4 or more, rate_hz 1000 or more, std and frames positive, not {given}")
        self.rate_hz, self.bands, self.frames, self.mean, self.std = rate_hz, bands, frames, mean, std
        self.window, self.hop = rate_hz * 25 // 1000, rate_hz // 100
        self.points = 2 ** (self.window - 1).bit_length()
        # No buffers: casting a model must not round them.
        self.shape_W = torch.from_numpy(np.hanning(self.window).astype(np.float32))
        self.bank_MK = _triangles(bands, self.points, rate_hz)

    @property
    def first_s(self) -> float:
        """The middle of the first frame, seconds."""
        return self.window / (2 * self.rate_hz)

    def count(self, samples: int) -> int:
        """Frames of a sound of so many samples."""
        within = 1 + (samples - self.window) // self.hop if samples >= self.window else 0
        return within if self.frames is None else self.frames

    def samples(self, frames: int) -> int:
        """The fewest samples that have so many frames within them."""
        return self.window + (frames - 1) * self.hop

    def forward(self, wave: Tensor) -> Tensor:
        if wave.shape[-1] < self.window:
            raise ValueError(f"wave must have at least {self.window} samples (a frame), not {wave.shape[-1]}")
        wave = wave.to(torch.promote_types(wave.dtype, torch.float32))
        y_BFW = wave.unfold(-1, self.window, self.hop)
        y_BFW = y_BFW - y_BFW.mean(-1, keepdim=True)
        before_BFW = torch.cat([y_BFW[..., :1], y_BFW[..., :-1]], -1)
        y_BFW = (y_BFW - 0.97 * before_BFW) * self.shape_W.to(wave)
        power_BFK = torch.fft.rfft(y_BFW, self.points).abs().square()
        energy_BFM = power_BFK @ self.bank_MK.to(wave).mT
        log_BFM = energy_BFM.clamp(min=torch.finfo(torch.float32).eps).log()
        if self.frames is not None:
            log_BFM = F.pad(log_BFM[:, : self.frames], (0, 0, 0, max(0, self.frames - log_BFM.shape[1])))
        return (log_BFM.mT - self.mean) / self.std


def _triangles(bands: int, points: int, rate_hz: int) -> Tensor:
    """(M, N / 2 + 1) weights of the spectrum's lines; the last line belongs to no band.

    In float32, as in Kaldi: close to a triangle's foot a weight has four digits then, and models have learned those.
    """
    lowest, highest = (1127.0 * math.log(1.0 + hertz / 700.0) for hertz in (20.0, rate_hz / 2))
    step = (highest - lowest) / (bands + 1)
    band_M1 = torch.from_numpy(np.arange(bands, dtype=np.float32))[:, None]
    left_M1, middle_M1, right_M1 = (lowest + (band_M1 + i) * step for i in (0, 1, 2))
    hertz_K = rate_hz / points * torch.from_numpy(np.arange(points // 2, dtype=np.float32))
    mel_K = 1127.0 * (1.0 + hertz_K / 700.0).log()
    rising, falling = (mel_K - left_M1) / (middle_M1 - left_M1), (right_M1 - mel_K) / (right_M1 - middle_M1)
    return F.pad(torch.minimum(rising, falling).clamp(min=0.0), (0, 1))
