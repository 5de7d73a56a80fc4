"""Placing: which part of a picture a model sees, and at which size.

Source: native sizes in whole patches: Dehghani et al. 2023, arXiv:2307.06304, sec. 2.
"""

__all__ = ["checked_size", "placed"]

FITS = ("crop", "resize", "inside", "native")
Box = tuple[float, float, float, float]


def checked_size(size: tuple[int, int] | int | None, fit: str, stride: int) -> tuple[int, int] | None:
    """The size as (rows, columns) px, None for ``native``.

    Raises:
        ValueError: the fit is unknown, or the size is not given where it must be or smaller than the stem's stride.
    """
    if fit not in FITS:
        raise ValueError(f"fit must be one of {', '.join(FITS)}, not {fit!r}")
    if (size is None) != (fit == "native"):
        raise ValueError(f"size must be {'None' if fit == 'native' else 'given'} with fit={fit!r}, not {size!r}")
    both = (size, size) if isinstance(size, int) else size
    if both is not None and min(both) < stride:
        raise ValueError(f"size must be at least the stem's stride of {stride} px, not {size}")
    return both


def placed(
    width: int, height: int, *, size: tuple[int, int] | None, fit: str, stride: int, crop_fraction: float = 1.0
) -> tuple[tuple[int, int], Box]:
    """(rows, columns) of the model's picture, and the part (left, upper, right, lower) of the original that it shows.

    ``resize`` to exactly ``size``, whatever the aspect. ``crop``: the middle, of the shape of ``size`` and of
    ``crop_fraction`` times the shorter side. ``inside``: shrink, never enlarge, until the picture lies within ``size``,
    and ``native``: keep its size; both round each side to a multiple of ``stride``, at least one.

    Args:
        width: Of the original, px.
        height: Of the original, px.
        size: (rows, columns) px; None with ``native``.
        fit: See above.
        stride: px a cell of the stem.
        crop_fraction: In (0, 1].
    """
    whole = (0.0, 0.0, float(width), float(height))
    if size is None:
        return (_multiple(height, stride), _multiple(width, stride)), whole
    rows, columns = size
    if fit == "resize":
        return size, whole
    if fit == "inside":
        shrink = min(rows / height, columns / width, 1.0)
        return (_multiple(height * shrink, stride, rows), _multiple(width * shrink, stride, columns)), whole
    enlarge = max(rows / height, columns / width) / crop_fraction
    part_w, part_h = min(columns / enlarge, width), min(rows / enlarge, height)
    left, upper = (width - part_w) / 2, (height - part_h) / 2
    return size, (left, upper, left + part_w, upper + part_h)


def _multiple(length: float, stride: int, most: int | None = None) -> int:
    cells = max(1, round(length / stride))
    return stride * (cells if most is None else min(cells, most // stride))
