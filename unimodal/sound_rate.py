"""Sound rate: a waveform at another sampling rate, through a windowed sinc.

Source: Smith 2002, ccrma.stanford.edu/~jos/resample (band-limited interpolation); the window and its numbers are those
of torchaudio.functional.resample, which the published audio models were trained behind.
Axes: T samples in, N samples out, P phases, K taps.
"""

import math
from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["resample_sound"]

CHUNK = 1 << 16
PHASES = 4096


def resample_sound(wave: Tensor, rate_hz: int, to_hz: int, *, crossings: int = 6, rolloff: float = 0.99) -> Tensor:
    """y_n = sum_t x_t h(n / to_hz - t / rate_hz), h the sinc of the lower band times a cosine-squared window.

    The band ends at ``rolloff`` times the lower of both rates' Nyquist frequencies; the window reaches over
    ``crossings`` zeros of the sinc to each side. Outside its samples the sound is zero. The weights of an output
    depend on its phase between two samples alone, so few are needed at common rates (160 from 44.1 to 16 kHz); at
    rates without a common divisor each output gets its own, chunk by chunk, so that memory stays bounded.

    Args:
        wave: At ``rate_hz``, samples a second.
        to_hz: The wanted rate.
        crossings: See above.
        rolloff: See above, in (0, 1].

    Shapes:
        wave: (T,);  returns (ceil(T to_hz / rate_hz),) in float32.

    Raises:
        ValueError: a rate is not positive.

    Cost: O(N K), K = 2 crossings / rolloff * max(1, rate_hz / to_hz) + 2.
    """
    if rate_hz < 1 or to_hz < 1:
        raise ValueError(f"rates must be positive, not {rate_hz} and {to_hz} Hz")
    wave = wave.to(torch.float32)
    common = math.gcd(rate_hz, to_hz)
    old, new = rate_hz // common, to_hz // common
    if old == new or not len(wave):
        return wave
    count, reach = -(-len(wave) * new // old), _reach(old, new, crossings, rolloff)
    padded = torch.nn.functional.pad(wave, (reach, reach + 1))
    frames_TK = padded.unfold(0, 2 * reach + 2, 1)
    few = new <= PHASES
    table_PK = _weights(old, new, crossings, rolloff) if few else None
    out, size = [], max(1, min(CHUNK, 4 * CHUNK * 16 // (2 * reach + 2)))
    for begin in range(0, count, size):
        index_N = torch.arange(begin, min(begin + size, count))
        phase_N = index_N * old % new
        if table_PK is None:
            weight_NK = _kernel(phase_N, old, new, crossings, rolloff)
        else:
            weight_NK = table_PK[index_N % new]
        out.append((frames_TK[index_N * old // new] * weight_NK).sum(-1))
    return torch.cat(out)


def _reach(old: int, new: int, crossings: int, rolloff: float) -> int:
    """Samples to each side that the window covers."""
    return math.ceil(crossings * old / (min(old, new) * rolloff))


@lru_cache(maxsize=32)
def _weights(old: int, new: int, crossings: int, rolloff: float) -> Tensor:
    return _kernel(torch.arange(new) * old % new, old, new, crossings, rolloff)


def _kernel(phase: Tensor, old: int, new: int, crossings: int, rolloff: float) -> Tensor:
    """Weights (P, K) of the samples around outputs that lie ``phase / new`` samples behind one."""
    band, reach = min(old, new) * rolloff, _reach(old, new, crossings, rolloff)
    offset_K = torch.arange(-reach, reach + 2, dtype=torch.float64)
    distance_PK = (offset_K - phase.double()[:, None] / new) * (band / old)
    inside = distance_PK.clamp(-crossings, crossings)
    window = (inside * (math.pi / (2 * crossings))).cos().square()
    return (torch.special.sinc(inside) * window * (band / old)).float()
