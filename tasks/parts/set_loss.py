"""Set loss: a fixed number of guesses against a set of objects, at every layer of a decoder.

Source: Carion et al. 2020, arXiv:2005.12872, sec. 3.1; a loss a layer: Al-Rfou et al. 2018, arXiv:1808.04444, sec. 3.
Axes: B pictures, N queries, M objects.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from unimodal.tasks.parts.matching import Matching
from unimodal.tasks.parts.objects import Objects
from unimodal.tasks.parts.set_prediction import SetPrediction

__all__ = ["SetLoss"]


class Criterion(Protocol):
    """What guesses and objects are compared by: a cost of each pair, and losses of the matched ones, both weighted."""

    def cost(self, prediction: SetPrediction, picture: int, objects: Objects) -> Tensor: ...

    def losses(
        self, prediction: SetPrediction, targets: Sequence[Objects], matching: Matching, count: float
    ) -> dict[str, Tensor]: ...


class SetLoss:
    """Each layer: the matching of least total cost, then the criteria's losses under it, summed over layers.

    Mask2Former and OneFormer are softmax classes and sampled masks; DETR is softmax classes and box distances, its
    deformable kin focal classes and box distances; a transformer of boxes and masks takes all three. Layers are matched
    on their own. Losses of objects are divided by the number of objects of the batch, at least 1, on this process.

    Args:
        criteria: At least one.

    Raises:
        ValueError: there is no criterion, no layer, or not one set of objects a picture.
    """

    def __init__(self, criteria: Sequence[Criterion]) -> None:
        if not criteria:
            raise ValueError("a set loss needs at least one criterion")
        self.criteria = tuple(criteria)

    def __call__(self, layers: Sequence[SetPrediction], targets: Sequence[Objects]) -> dict[str, Tensor]:
        """Weighted losses by name; their sum is what to minimise."""
        if not layers or any(len(layer.classes) != len(targets) for layer in layers):
            raise ValueError(f"{len(targets)} sets of objects need as many pictures in at least one layer")
        count = float(max(1, sum(map(len, targets))))
        total: dict[str, Tensor] = {}
        for layer in layers:
            matching = self.match(layer, targets)
            for criterion in self.criteria:
                for name, loss in criterion.losses(layer, targets, matching, count).items():
                    total[name] = total[name] + loss if name in total else loss
        return total

    @torch.no_grad()
    def match(self, prediction: SetPrediction, targets: Sequence[Objects]) -> Matching:
        """The pairs of least total cost in each picture."""
        costs = []
        for i, objects in enumerate(targets):
            each = [criterion.cost(prediction, i, objects) for criterion in self.criteria]
            costs.append(torch.stack(each).sum(0))
        return Matching.cheapest(costs)
