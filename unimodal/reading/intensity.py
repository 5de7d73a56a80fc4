"""Intensity: measured values (Hounsfield units, counts, degrees) as numbers around zero, and back.

Axes: none; every value by itself.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

__all__ = ["Intensity", "robust_intensity"]

Values = TypeVar("Values", np.ndarray, Tensor)
_LOOKED_AT = 2**20  # values that percentiles are taken over


@dataclass(frozen=True)
class Intensity:
    """model = 2 (value - dark) / (bright - dark) - 1, without clipping, so that it can be undone exactly.

    Args:
        dark: The value that is shown black and becomes -1.
        bright: The value that is shown white and becomes 1; below ``dark`` where high values are shown dark.
        told_by: Where the two come from.
        unit: Of values.

    Raises:
        ValueError: the two are equal or not finite.
    """

    dark: float
    bright: float
    told_by: str
    unit: str = ""

    def __post_init__(self) -> None:
        if not np.isfinite([self.dark, self.bright]).all() or self.dark == self.bright:
            raise ValueError(f"dark and bright must be two finite numbers, not {self.dark:g} and {self.bright:g}")

    def apply(self, values: Values) -> Values:
        """Values as the model sees them, in floating point."""
        return (values - self.dark) * (2 / (self.bright - self.dark)) - 1

    def invert(self, values: Values) -> Values:
        """The inverse of :meth:`apply`."""
        return (values + 1) * ((self.bright - self.dark) / 2) + self.dark

    def to_json(self) -> dict[str, Any]:
        """Plain data, the fields by name."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Intensity":
        """The inverse of :meth:`to_json`."""
        return Intensity(**data)


def robust_intensity(values: np.ndarray, *, percent: float = 0.5, inverted: bool = False, unit: str = "") -> Intensity:
    """From the ``percent``-th lowest to the ``percent``-th highest percentile; NaN and infinity do not count.

    Of many values evenly spread ones are looked at. Constant values become -1.

    Args:
        values: Of any shape.
        percent: In [0, 50).
        inverted: Whether high values are shown dark.
        unit: Of values.
    """
    seen = values.reshape(-1)[:: max(1, values.size // _LOOKED_AT)].astype(np.float64)
    seen = seen[np.isfinite(seen)]
    low, high = np.percentile(seen, [percent, 100 - percent]).tolist() if seen.size else (0.0, 1.0)
    if not high > low and seen.size:
        low, high = float(seen.min()), float(seen.max())
    if not high > low:
        high = low + max(1.0, abs(low))
    dark, bright = (high, low) if inverted else (low, high)
    return Intensity(dark, bright, f"percentiles {percent:g} and {100 - percent:g}", unit)
