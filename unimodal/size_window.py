"""Size window: which sizes of its pictures a training step consumes, all of them or neighbours that take turns.

Source: Tian et al. 2023, arXiv:2212.00776, sec. 3.1; the modes ``co`` and ``iter``: github.com/ruitian12/resformer,
image_classification/engine.py.
Axes: n sizes, m of them in a step.
"""

from collections.abc import Sequence
from itertools import pairwise

__all__ = ["size_window"]


def size_window(sizes: Sequence[int], step: int, *, count: int | None = None) -> tuple[int, ...]:
    """sizes[b : b + m] with b = step mod (n - m + 1).

    With all sizes in every step (the released ``co``) nothing depends on the step. With fewer (``iter``) a window of m
    neighbours moves from the largest size to the smallest and begins again: inside a step each size still has the next
    larger one to learn from, and sizes at the ends come up less often than those in the middle.

    Args:
        sizes: Sides of the pictures in px, from the largest to the smallest.
        step: Of the training, from 0.
        count: m, or None for all n.

    Raises:
        ValueError: there are no sizes, they do not fall, ``count`` is not from 1 to n, or ``step`` is negative.

    Cost: none of its own; the step that follows costs the sum of what each of its sizes costs alone.
    """
    sizes = tuple(sizes)
    if not sizes:
        raise ValueError("sizes must name at least one size")
    if any(a <= b for a, b in pairwise(sizes)):
        raise ValueError(f"sizes must fall from the largest to the smallest, not {sizes}")
    count = len(sizes) if count is None else count
    if not 1 <= count <= len(sizes):
        raise ValueError(f"count must be from 1 to {len(sizes)}, the number of sizes, not {count}")
    if step < 0:
        raise ValueError(f"step must not be negative, not {step}")
    begin = step % (len(sizes) - count + 1)
    return sizes[begin : begin + count]
