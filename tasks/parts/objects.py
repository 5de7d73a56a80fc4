"""Objects: what is in one picture, as the sets that detectors and segmenters learn from.

Axes: M objects, Y rows, X columns.
"""

from dataclasses import dataclass

from torch import Tensor

__all__ = ["Objects"]


@dataclass(frozen=True, eq=False)
class Objects:
    """A set without order; it may be empty.

    Args:
        classes: (M,) int64 class indices.
        masks: (M, Y, X) 0 or 1, or None where only boxes are known. They cover the whole lattice that predictions
            cover, its padding included; their size need not be the predictions'.
        boxes: (M, 4) centre x, centre y, width, height as shares of the picture, or None where only masks are known.

    Raises:
        ValueError: masks or boxes have another shape, or are not one a class.
    """

    classes: Tensor
    masks: Tensor | None = None
    boxes: Tensor | None = None

    def __post_init__(self) -> None:
        if self.classes.ndim != 1:
            raise ValueError(f"classes must be (M,), not {tuple(self.classes.shape)}")
        if self.masks is not None and (self.masks.ndim != 3 or len(self.masks) != len(self)):
            raise ValueError(f"masks must be ({len(self)}, Y, X), not {tuple(self.masks.shape)}")
        if self.boxes is not None and tuple(self.boxes.shape) != (len(self), 4):
            raise ValueError(f"boxes must be ({len(self)}, 4), not {tuple(self.boxes.shape)}")

    def __len__(self) -> int:
        return len(self.classes)
