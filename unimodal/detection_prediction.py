"""Detection prediction: what queries say of a picture, each one a class and a box.

Source: Carion et al. 2020, arXiv:2005.12872, sec. 3.1.
Axes: B pictures, Q queries, K classes.
"""

from typing import NamedTuple

from torch import Tensor

__all__ = ["DetectionPrediction"]


class DetectionPrediction(NamedTuple):
    """Class and box of each query.

    Args:
        classes: (B, Q, K + 1) logits, the last one of no object.
        boxes: (B, Q, 4) centre x, centre y, width and height, as shares of the picture.
    """

    classes: Tensor
    boxes: Tensor
