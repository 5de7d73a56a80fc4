"""Stride product: how much two steps that shrink a lattice, one after the other, shrink it."""

__all__ = ["stride_product"]


def stride_product(first: int | tuple[int, ...], second: int | tuple[int, ...]) -> int | tuple[int, ...]:
    """The product: one number, or one an axis if one of the two has that."""
    axes = max(1 if isinstance(n, int) else len(n) for n in (first, second))
    rows = ((n,) * axes if isinstance(n, int) else n for n in (first, second))
    made = tuple(a * b for a, b in zip(*rows, strict=True))
    return made[0] if axes == 1 else made
