"""Synthetic series: windows of waves, trends and walks with periods of all lengths, by formula.

x_c(t) = trend + sum over harmonics h of a_h sin(2 pi h t / p + phase_h) + a second wave + walk + noise. The columns of
a window share their periods, as the columns of a table mostly do; everything else is drawn for each column.
Axes: B windows, C columns, T steps.
"""

import torch
from torch import Tensor

__all__ = ["synthetic_series"]

USUAL = (4.0, 5.0, 7.0, 8.0, 12.0, 14.0, 24.0, 26.0, 30.0, 48.0, 52.0, 60.0, 96.0, 144.0, 168.0)


def synthetic_series(windows: int, columns: int, steps: int) -> Tensor:
    """Windows from torch's random generator, each column with mean 0 and standard deviation 1.

    Shapes:
        returns (B, C, T).
    """
    t_T = torch.arange(steps, dtype=torch.float32)
    usual = torch.tensor(USUAL)[torch.randint(len(USUAL), (windows, 1, 1))]
    any_length = torch.exp(torch.empty(windows, 1, 1).uniform_(1.4, 5.3))  # 4 to 200
    period = torch.where(torch.rand(windows, 1, 1) < 0.6, usual, any_length)
    wave = _wave(period, t_T, windows, columns) * _some(windows, columns, 0.85)
    second = _wave(period * torch.randint(2, 8, (windows, 1, 1)), t_T, windows, columns) * _some(windows, columns, 0.4)
    trend = torch.randn(windows, columns, 1) * (t_T / steps) * 2 * _some(windows, columns, 0.5)
    pull = 1 - torch.exp(torch.empty(windows, columns, 1).uniform_(-7, -1))
    walk = _walk(pull, steps) * _some(windows, columns, 0.5) * torch.rand(windows, columns, 1)
    noise = torch.randn(windows, columns, steps) * torch.exp(torch.empty(windows, columns, 1).uniform_(-4, -0.7))
    x = wave + second + trend + walk + noise
    return (x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True)


def _some(windows: int, columns: int, share: float) -> Tensor:
    """Amplitudes in 0.3 .. 1.3 for a share of the columns, 0 for the others."""
    return (torch.rand(windows, columns, 1) < share) * (torch.rand(windows, columns, 1) + 0.3)


def _wave(period: Tensor, t_T: Tensor, windows: int, columns: int) -> Tensor:
    total = torch.zeros(windows, columns, len(t_T))
    for harmonic in (1, 2, 3):
        size = torch.randn(windows, columns, 1) / harmonic if harmonic > 1 else 1.0
        phase = torch.rand(windows, columns, 1) * 6.2832
        total += size * torch.sin(6.2832 * harmonic * t_T / period + phase)
    return total


def _walk(pull: Tensor, steps: int) -> Tensor:
    """First-order autoregressions of standard deviation about 1, by their impulse response in the Fourier domain."""
    lags = pull ** torch.arange(steps)
    shock = torch.randn(*pull.shape[:2], steps)
    spectrum = torch.fft.rfft(lags, 2 * steps) * torch.fft.rfft(shock, 2 * steps)
    walk = torch.fft.irfft(spectrum, 2 * steps)[..., :steps]
    return walk / walk.std(-1, keepdim=True).clamp_min(1e-6)
