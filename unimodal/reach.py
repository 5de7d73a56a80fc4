"""Reach: which lattice a stem makes of a size, and how far its cells reach along the last axis.

A stem says its lattice with ``cells(sizes)``; one that does not has cells of its stride, side by side.
"""

from typing import Any

__all__ = ["Reach"]


class Reach:
    """cell j covers the places [step j, step j + width) of the last axis, counted by a stem's own lattice.

    What a stem pads counts as nothing: ``width`` is the least size that gives one cell.

    Args:
        stem: With ``cells(sizes)``, or ``stride`` (one number, or one an axis).
        before: Sizes of the axes before the last one.
        limit: Sizes up to which a first and a second cell are looked for.

    Raises:
        ValueError: the stem makes no second cell below ``limit``.
    """

    def __init__(self, stem: Any, before: tuple[int, ...], *, limit: int = 1 << 16) -> None:
        self.stem, self.before = stem, before
        self.width = self._least(1, 1, limit)
        self.step = self._least(2, self.width, limit) - self.width

    def cells(self, length: int) -> tuple[int, ...]:
        """The lattice of an input of ``length`` along the last axis."""
        sizes = (*self.before, length)
        if hasattr(self.stem, "cells"):
            return tuple(self.stem.cells(sizes))
        stride = self.stem.stride
        strides = (stride,) * len(sizes) if isinstance(stride, int) else stride
        return tuple(n // s for n, s in zip(sizes, strides, strict=True))

    def whole(self, length: int) -> int:
        """The least length from ``length`` on at which no place lies behind the last cell."""
        return self.width + self.step * max(0, -(-(length - self.width) // self.step))

    def _least(self, count: int, begin: int, limit: int) -> int:
        for length in range(begin, limit):
            cells = self.cells(length)
            if min(cells) > 0 and cells[-1] >= count:
                return length
        raise ValueError(f"the stem makes fewer than {count} cells of {(*self.before, limit)}")
