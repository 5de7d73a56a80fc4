"""Boxes: from what a network says to pixels, and back.

A network's box is (centre x, centre y, width, height) as shares of the picture; a file's is (left, top, right, bottom)
in px, where the right and bottom edges are beyond the last px that the box holds.
"""

from torch import Tensor

__all__ = ["corners", "in_pixels", "of_picture"]


def corners(boxes: Tensor) -> Tensor:
    """(..., 4) centre x, centre y, width, height to left, top, right, bottom, in the same unit."""
    from torchvision.ops import box_convert

    return box_convert(boxes, "cxcywh", "xyxy")


def in_pixels(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """(..., 4) a network's boxes in a picture of ``size`` (rows, columns) px, cut off at its edges."""
    from torchvision.ops import clip_boxes_to_image

    rows, columns = size
    return clip_boxes_to_image(corners(boxes) * boxes.new_tensor([columns, rows, columns, rows]), size)


def of_picture(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """(..., 4) left, top, right, bottom in px of a picture of ``size`` (rows, columns) to a network's boxes."""
    from torchvision.ops import box_convert

    rows, columns = size
    return box_convert(boxes / boxes.new_tensor([columns, rows, columns, rows]), "xyxy", "cxcywh")
