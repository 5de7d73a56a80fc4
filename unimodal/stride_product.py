"""Stride product: how much two steps that shrink a lattice, one after the other, shrink it; fractions enlarge it."""

from typing import Any

__all__ = ["stride_product"]


def stride_product(first: float | tuple[float, ...], second: float | tuple[float, ...]) -> Any:
    """The product: one number, or one an axis if one of the two has that; an int wherever it is whole."""
    axes = max(len(n) if isinstance(n, tuple) else 1 for n in (first, second))
    rows = (n if isinstance(n, tuple) else (n,) * axes for n in (first, second))
    made = tuple(_whole(a * b) for a, b in zip(*rows, strict=True))
    return made[0] if axes == 1 else made


def _whole(number: float) -> float:
    return int(number) if number == int(number) else number
