"""Softmax classes: every query chooses one class or "no object".

Source: Carion et al. 2020, arXiv:2005.12872, sec. 3.1 and A.2 (the no-object weight 0.1).
Axes: B pictures, N queries, M objects, K classes.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from unimodal.tasks.parts.matching import Matching
from unimodal.tasks.parts.objects import Objects
from unimodal.tasks.parts.set_prediction import SetPrediction

__all__ = ["SoftmaxClasses"]


class SoftmaxClasses:
    """Cost -p(class);  loss the mean of w_y (-log p(y)), weighted by w_y: ``no_object`` where nothing is, else 1.

    Most queries of a picture answer for nothing; the small weight keeps them from drowning the rest. The mean is over
    the weights of all queries of the batch, not over objects.

    Args:
        weight: Of the cost and of the loss.
        no_object: w of "no object", the last of the K + 1 classes.
    """

    def __init__(self, weight: float = 2.0, *, no_object: float = 0.1) -> None:
        self.weight, self.no_object = weight, no_object

    def cost(self, prediction: SetPrediction, picture: int, objects: Objects) -> Tensor:
        """(N, M)."""
        return -self.weight * prediction.classes[picture].float().softmax(-1)[:, objects.classes]

    def losses(
        self, prediction: SetPrediction, targets: Sequence[Objects], matching: Matching, count: float
    ) -> dict[str, Tensor]:
        """{"classes": a scalar}."""
        logits_BNK = prediction.classes.to(torch.promote_types(prediction.classes.dtype, torch.float32))
        nothing = logits_BNK.shape[-1] - 1
        wanted_BN = matching.classes([t.classes for t in targets], logits_BNK.shape[1], nothing)
        weights_K = logits_BNK.new_ones(nothing + 1)
        weights_K[nothing] = self.no_object
        return {"classes": self.weight * F.cross_entropy(logits_BNK.mT, wanted_BN, weights_K)}
