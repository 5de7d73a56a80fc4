"""Box distances: how far a box is from where it should be, in its numbers and in its overlap.

Source: Carion et al. 2020, arXiv:2005.12872, eq. 2 and sec. 3.1; generalised IoU: Rezatofighi et al. 2019,
arXiv:1902.09630, algorithm 1.
Axes: N queries, M objects, J pairs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from unimodal.tasks.parts.boxes import corners
from unimodal.tasks.parts.matching import Matching
from unimodal.tasks.parts.objects import Objects
from unimodal.tasks.parts.set_prediction import SetPrediction

__all__ = ["BoxDistances"]

_NO_AREA = 1e-12  # of the union: two boxes without area give 0, not 0 / 0, and all others what they are


class BoxDistances:
    """|a - b|_1 over (centre x, centre y, width, height), and 1 - GIoU(a, b); both summed and divided by the objects.

    The first alone would make errors of large boxes dearer than those of small ones; the second does not mind size.

    Args:
        l1: Weight of the first.
        giou: Weight of the second.
    """

    def __init__(self, *, l1: float = 5.0, giou: float = 2.0) -> None:
        self.l1, self.giou = l1, giou

    def cost(self, prediction: SetPrediction, picture: int, objects: Objects) -> Tensor:
        """(N, M).

        Raises:
            ValueError: the prediction or the objects have no boxes.
        """
        from torchvision.ops import generalized_box_iou

        guessed_N4, wanted_M4 = _boxes(prediction)[picture].float(), _boxes(objects).float()
        overlap_NM = generalized_box_iou(corners(guessed_N4), corners(wanted_M4))
        return self.l1 * torch.cdist(guessed_N4, wanted_M4, p=1) - self.giou * overlap_NM

    def losses(
        self, prediction: SetPrediction, targets: Sequence[Objects], matching: Matching, count: float
    ) -> dict[str, Tensor]:
        """{"l1": a scalar, "giou": a scalar}."""
        from torchvision.ops import generalized_box_iou_loss

        guessed_J4 = matching.of_queries(_boxes(prediction))
        guessed_J4 = guessed_J4.to(torch.promote_types(guessed_J4.dtype, torch.float32))
        wanted_J4 = matching.of_objects([_boxes(t) for t in targets]).to(guessed_J4)
        apart_J = generalized_box_iou_loss(corners(guessed_J4), corners(wanted_J4), eps=_NO_AREA)
        return {
            "l1": self.l1 * (guessed_J4 - wanted_J4).abs().sum() / count,
            "giou": self.giou * apart_J.sum() / count,
        }


def _boxes(given: SetPrediction | Objects) -> Tensor:
    if given.boxes is None:
        raise ValueError(f"boxes are needed here, and {type(given).__name__} has none")
    return given.boxes
