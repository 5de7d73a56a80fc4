"""Sound windows: all of a sound, one part after the other."""

from collections.abc import Callable, Iterator
from typing import Any

from unimodal.sample import Sample

__all__ = ["sound_windows"]


def sound_windows(read: Callable[..., Sample], source: Any) -> Iterator[Sample]:
    """``read(source, start_s=...)`` until the end; the records' ``start_s`` and ``part_s`` say where each belongs."""
    start_s = 0.0
    while True:
        sample = read(source, start_s=start_s)
        yield sample
        start_s = sample.record.start_s + sample.record.part_s
        if start_s >= sample.record.duration_s - 0.5 / sample.record.rate_hz:
            return
