"""Set prediction: what the queries of one decoder layer say about a batch of pictures.

Axes: B pictures, N queries, K classes, Y rows, X columns.
"""

from dataclasses import dataclass

from torch import Tensor

__all__ = ["SetPrediction"]


@dataclass(frozen=True, eq=False)
class SetPrediction:
    """Every query is one guess; which object it should have been is for the matching to say.

    Args:
        classes: (B, N, K) logits, or (B, N, K + 1) with "no object" last, as the classes' criterion wants it.
        masks: (B, N, Y, X) logits, or None.
        boxes: (B, N, 4) centre x, centre y, width, height as shares of the picture, or None.
    """

    classes: Tensor
    masks: Tensor | None = None
    boxes: Tensor | None = None
