"""Placement: how large a model's picture is, and which part of the original it shows.

Axes: rows and columns in px.
"""

__all__ = ["placed"]

Box = tuple[float, float, float, float]


def placed(
    width: int, height: int, *, size: tuple[int, int] | None, fit: str, crop_fraction: float, stride: int
) -> tuple[tuple[int, int], Box]:
    """(rows, columns) px of the model's picture, and the box (left, upper, right, lower) px of the original.

    Fits are those of :class:`unimodal.tokenizers.image.Image`: ``resize``, ``crop``, ``inside`` and ``native``.

    Args:
        width: Of the original, px.
        height: Of the original, px.
        size: (rows, columns) px; None with ``native``, which keeps the original's.
        fit: See above.
        crop_fraction: With ``crop``, the share of the shorter side that is shown.
        stride: ``inside`` and ``native`` round each side to a multiple of it, at least one.
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
