"""Sound rate: a waveform at another sampling rate, through a windowed sinc.

Source: Smith 2002, ccrma.stanford.edu/~jos/resample (band-limited interpolation); the window and its numbers are those
of torchaudio.functional.resample, which the published audio models were trained behind.
Axes: T samples in, N samples out, P phases, K taps, M stretches of L samples.
"""

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["resample_sound"]

CHUNK = 1 << 21  # weights, or samples, that are at work at a time
DENSE = 1 << 18


def resample_sound(wave: Tensor, rate_hz: int, to_hz: int, *, crossings: int = 6, rolloff: float = 0.99) -> Tensor:
    """y_n = sum_t x_t h(n / to_hz - t / rate_hz), h the sinc of the lower band times a cosine-squared window.

    The band ends at ``rolloff`` times the lower of both rates' Nyquist frequencies; the window reaches over
    ``crossings`` zeros of the sinc to each side. Outside its samples the sound is zero. The weights of an output
    depend on its phase between two samples alone: at common rates all phases (160 from 44.1 to 16 kHz) are one matrix,
    and a stretch of the sound times this matrix gives an output of each phase. At rates without a common divisor each
    output gets its own weights. Either goes by chunks, so that memory stays bounded.

    Args:
        wave: At ``rate_hz``, samples a second.
        to_hz: The wanted rate.
        crossings: See above.
        rolloff: See above, in (0, 1].

    Shapes:
        wave: (T,);  returns (ceil(T to_hz / rate_hz),) in float32.

    Raises:
        ValueError: a rate is not positive.
    """
    if rate_hz < 1 or to_hz < 1:
        raise ValueError(f"rates must be positive, not {rate_hz} and {to_hz} Hz")
    wave = wave.to(torch.float32)
    common = math.gcd(rate_hz, to_hz)
    old, new = rate_hz // common, to_hz // common
    if old == new or not len(wave):
        return wave
    count, reach = -(-len(wave) * new // old), _reach(old, new, crossings, rolloff)
    if new * (old + 2 * reach + 1) <= DENSE:
        weight_LP = _weights(old, new, crossings, rolloff)
        padded = F.pad(wave, (reach, reach + old))
        stretches_ML = padded.unfold(0, len(weight_LP), old)
        chunks = stretches_ML.split(max(1, CHUNK // len(weight_LP)))
        return torch.cat([(stretch_mL @ weight_LP).flatten() for stretch_mL in chunks])[:count]
    taps_TK = F.pad(wave, (reach, reach + 1)).unfold(0, 2 * reach + 2, 1)
    out = []
    for index_N in torch.arange(count).split(max(1, CHUNK // (2 * reach + 2))):
        weight_NK = _kernel(index_N * old % new, old, new, crossings, rolloff)
        out.append((taps_TK[index_N * old // new] * weight_NK).sum(-1))
    return torch.cat(out)


def _reach(old: int, new: int, crossings: int, rolloff: float) -> int:
    """Samples to each side that the window covers."""
    return math.ceil(crossings * old / (min(old, new) * rolloff))


@lru_cache(maxsize=16)
def _weights(old: int, new: int, crossings: int, rolloff: float) -> Tensor:
    """(L, P) weights of a stretch of samples for an output of each phase; L = old + 2 reach + 1."""
    reach, place_P = _reach(old, new, crossings, rolloff), torch.arange(new) * old
    kernel_PK = _kernel(place_P % new, old, new, crossings, rolloff)
    index_PK = (place_P // new)[:, None] + torch.arange(2 * reach + 2)
    return torch.zeros(new, old + 2 * reach + 1).scatter_(1, index_PK, kernel_PK).mT.contiguous()


def _kernel(phase: Tensor, old: int, new: int, crossings: int, rolloff: float) -> Tensor:
    """Weights (P, K) of the samples around outputs that lie ``phase / new`` samples behind one."""
    band, reach = min(old, new) * rolloff, _reach(old, new, crossings, rolloff)
    offset_K = torch.arange(-reach, reach + 2, dtype=torch.float64)
    distance_PK = (offset_K - phase.double()[:, None] / new) * (band / old)
    inside = distance_PK.clamp(-crossings, crossings)
    window = (inside * (math.pi / (2 * crossings))).cos().square()
    return (torch.special.sinc(inside) * window * (band / old)).float()
