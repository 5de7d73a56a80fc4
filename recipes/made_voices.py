"""Digits in the voices of a formant synthesiser: more mouths than six people have, to learn from and never to test on.

espeak-ng (Debian: espeak-ng) makes them; what it makes is not kept.
"""

import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["made_voices"]

HEADER, RATE = 44, 22_050  # bytes, whose length fields mean nothing in a stream; Hz
VARIANTS = ("m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "f1", "f2", "f3", "f4", "f5", "klatt", "klatt2", "klatt3")
ACCENTS = ("en-us", "en-gb", "en-gb-scotland", "en-029", "en-gb-x-rp", "en-gb-x-gbclan")


def made_voices(words: Sequence[str], *, voices: int = 120, seed: int = 0) -> list[tuple[Any, int]]:
    """(sound, place of the word) of each word in each of so many voices: an accent, a throat, a pace and a pitch.

    Raises:
        FileNotFoundError: there is no espeak-ng.
    """
    program = shutil.which("espeak-ng")
    if program is None:
        raise FileNotFoundError("espeak-ng is not installed: the made voices need it (Debian: apt install espeak-ng)")
    draw, found = np.random.default_rng(seed), []
    for _ in range(voices):
        voice = f"{ACCENTS[draw.integers(len(ACCENTS))]}+{VARIANTS[draw.integers(len(VARIANTS))]}"
        pace, pitch = (str(int(draw.integers(*ends))) for ends in ((110, 220), (15, 75)))
        for place, word in enumerate(words):
            command = [program, "-v", voice, "-s", pace, "-p", pitch, "--stdout", word]
            said = subprocess.run(command, capture_output=True, check=True).stdout
            samples = np.frombuffer(said[HEADER:], np.int16).astype(np.float32) / 32768
            loud = np.flatnonzero(np.abs(samples) > 0.02 * np.abs(samples).max())
            found.append(((samples[loud[0] : loud[-1] + 1], RATE), place))
    return found
