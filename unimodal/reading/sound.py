"""Sound: one part of any sound as samples of one channel at one rate, and the record of what was taken.

Only the part is decoded: an hour of sound costs no more than the seconds that are asked for.
"""

import math
from typing import Any

from torch import Tensor

from unimodal.errors import InputError
from unimodal.reading.sound_file import open_sound
from unimodal.reading.sound_rate import resample_sound
from unimodal.reading.sound_record import SoundRecord

__all__ = ["read_sound"]

LOUDEST = 2.0**32  # whole numbers that were taken for floats stay below it


def read_sound(source: Any, *, rate_hz: int, window_s: float, start_s: float = 0.0) -> tuple[Tensor, SoundRecord, str]:
    """Decode, mix down and resample ``window_s`` seconds from ``start_s`` on, or less at the sound's end.

    The part is resampled by itself, as if silence were around it.

    Args:
        source: See :func:`unimodal.reading.sound_file.open_sound`.
        rate_hz: Wanted samples a second.
        window_s: Most seconds that are taken.
        start_s: Where they begin, seconds from the sound's beginning.

    Shapes:
        returns (T,) float32 with the record and the source's name.

    Raises:
        InputError: the source cannot be used, has samples that are no finite numbers, or ends before ``start_s``.
        MissingExtraError: what could decode it is not installed.
    """
    with open_sound(source) as sound:
        if start_s < 0 or not math.isfinite(start_s):
            raise InputError(sound.name, f"cannot be heard from second {start_s} on", "start at 0 or later")
        begin, count = round(start_s * sound.rate_hz), max(1, round(window_s * sound.rate_hz))
        if sound.frames is not None and sound.exact and begin >= sound.frames:
            length = sound.frames / sound.rate_hz
            raise InputError(sound.name, f"is {length:.6g} s long", f"there is nothing at second {start_s:.6g}")
        wave, name = sound.mono(begin, count), sound.name
        if not len(wave):
            raise InputError(name, f"has no samples from second {start_s:.6g} on")
        peak = float(wave.abs().max())
        if not math.isfinite(peak):
            bad = int((~wave.isfinite()).sum())
            raise InputError(name, f"has {bad} samples that are NaN or infinite", "give finite numbers")
        if peak > LOUDEST:
            raise InputError(name, f"has samples up to {peak:.3g}", "full scale is 1 for floats")
        frames = begin + len(wave) if sound.frames is None or len(wave) < count else sound.frames
        heard = resample_sound(wave, sound.rate_hz, rate_hz)
        record = SoundRecord(
            rate_hz=sound.rate_hz,
            channels=sound.channels,
            duration_s=frames / sound.rate_hz,
            start_s=begin / sound.rate_hz,
            part_s=len(wave) / sound.rate_hz,
            model_hz=rate_hz,
            samples=len(heard),
            format=sound.format,
        )
    return heard, record, name
