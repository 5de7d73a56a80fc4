"""Mask prediction: what queries say of a picture, each one a class and a mask.

Source: Cheng et al. 2021, arXiv:2107.06278, sec. 3.1 and 3.2 (mask classification).
Axes: B pictures, N queries, K classes, Y X the finest lattice.
"""

from typing import NamedTuple

from torch import Tensor

__all__ = ["MaskPrediction"]


class MaskPrediction(NamedTuple):
    """Class and mask of each query.

    Args:
        classes: (B, N, K + 1) logits, the last one of no object.
        masks: (B, N, Y, X) logits, positive inside.
    """

    classes: Tensor
    masks: Tensor
