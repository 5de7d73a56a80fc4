"""Focal classes: every query says yes or no to each class, and easy answers weigh little.

Source: Lin et al. 2017, arXiv:1708.02002, eq. 5; as the cost and loss of a set: Zhu et al. 2020, arXiv:2010.04159;
released code: github.com/fundamentalvision/Deformable-DETR, models/matcher.py and models/deformable_detr.py.
Axes: B pictures, N queries, M objects, K classes.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from unimodal.tasks.parts.matching import Matching
from unimodal.tasks.parts.objects import Objects
from unimodal.tasks.parts.set_prediction import SetPrediction

__all__ = ["FocalClasses"]


class FocalClasses:
    """With p = sigmoid(logit): yes = -alpha (1 - p)^gamma log p, no = -(1 - alpha) p^gamma log(1 - p).

    The cost of a query for an object of class k is yes_k - no_k: what saying yes would save. The loss sums yes over
    matched classes and no over all others, divided by the number of objects of the batch. There is no class
    "no object": a query that answers for nothing says no to all K.

    Args:
        weight: Of the cost and of the loss.
        alpha: Share of yes.
        gamma: How little easy answers weigh.
    """

    def __init__(self, weight: float = 2.0, *, alpha: float = 0.25, gamma: float = 2.0) -> None:
        self.weight, self.alpha, self.gamma = weight, alpha, gamma

    def cost(self, prediction: SetPrediction, picture: int, objects: Objects) -> Tensor:
        """(N, M)."""
        yes_NK, no_NK = self._answers(prediction.classes[picture])
        return self.weight * (yes_NK - no_NK)[:, objects.classes]

    def losses(
        self, prediction: SetPrediction, targets: Sequence[Objects], matching: Matching, count: float
    ) -> dict[str, Tensor]:
        """{"classes": a scalar}."""
        yes_BNK, no_BNK = self._answers(prediction.classes)
        wanted_BNK = torch.zeros_like(yes_BNK, dtype=torch.bool)
        wanted_BNK[(*matching.places(), matching.of_objects([t.classes for t in targets]))] = True
        return {"classes": self.weight * torch.where(wanted_BNK, yes_BNK, no_BNK).sum() / count}

    def _answers(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        p = logits.sigmoid()
        yes = -self.alpha * (1 - p) ** self.gamma * F.logsigmoid(logits)
        no = -(1 - self.alpha) * p**self.gamma * F.logsigmoid(-logits)
        return yes, no
