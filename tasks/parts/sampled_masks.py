"""Sampled masks: cross-entropy and Dice of masks at points.

Source: Cheng et al. 2021, arXiv:2112.01527, sec. 3.3; Dice: Milletari et al. 2016, arXiv:1606.04797, sec. 3; released
code: github.com/facebookresearch/Mask2Former, mask2former/modeling/matcher.py and criterion.py.
Axes: N queries, M objects, J pairs, P points.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from unimodal.tasks.parts.mask_points import at_points, unsure_points
from unimodal.tasks.parts.matching import Matching
from unimodal.tasks.parts.objects import Objects
from unimodal.tasks.parts.set_prediction import SetPrediction

__all__ = ["SampledMasks"]


class SampledMasks:
    """mean over points of BCE(logit, mask), and 1 - (2 sum p m + 1) / (sum p + sum m + 1), p = sigmoid(logit).

    Costs are at points drawn evenly, the same for all pairs of a picture; losses at points that each pair draws where
    its own logits are unsure. Both losses are summed over pairs and divided by the number of objects.

    Args:
        cross_entropy: Weight of the first.
        dice: Weight of the second.
        points: P.
        oversample: Candidates a point.
        importance: Share of the points that are unsure ones.

    Raises:
        ValueError: fewer than one point; oversample below 1; importance outside 0..1; masks are missing, or have
            different sizes.
    """

    def __init__(
        self,
        *,
        cross_entropy: float = 5.0,
        dice: float = 5.0,
        points: int = 12544,
        oversample: float = 3.0,
        importance: float = 0.75,
    ) -> None:
        if points < 1 or oversample < 1 or not 0 <= importance <= 1:
            raise ValueError(
                "points and oversample must be at least 1 and importance within 0..1, "
                f"not {points}, {oversample} and {importance}"
            )
        self.cross_entropy, self.dice = cross_entropy, dice
        self.points, self.oversample, self.importance = points, oversample, importance

    def cost(self, prediction: SetPrediction, picture: int, objects: Objects) -> Tensor:
        """(N, M)."""
        logits_NYX, masks_MYX = _masks(prediction)[picture].float(), _masks(objects).float()
        points_1P2 = torch.rand(1, self.points, 2, device=logits_NYX.device)
        logits_NP, masks_MP = at_points(logits_NYX, points_1P2), at_points(masks_MYX, points_1P2)
        agree_NM, p_NP = logits_NP @ masks_MP.mT, logits_NP.sigmoid()
        crossed_NM = (F.softplus(logits_NP).sum(-1, keepdim=True) - agree_NM) / self.points
        whole_NM = p_NP.sum(-1)[:, None] + masks_MP.sum(-1)
        apart_NM = 1 - (2 * p_NP @ masks_MP.mT + 1) / (whole_NM + 1)
        return self.cross_entropy * crossed_NM + self.dice * apart_NM

    def losses(
        self, prediction: SetPrediction, targets: Sequence[Objects], matching: Matching, count: float
    ) -> dict[str, Tensor]:
        """{"masks": a scalar, "dice": a scalar}."""
        masks = [_masks(t) for t in targets]
        if len({tuple(m.shape[1:]) for m in masks}) > 1:
            raise ValueError("the masks of a batch must have one size, the pictures' with their padding")
        logits_JYX = matching.of_queries(_masks(prediction))
        logits_JYX = logits_JYX.to(torch.promote_types(logits_JYX.dtype, torch.float32))
        points_JP2 = unsure_points(logits_JYX, self.points, oversample=self.oversample, importance=self.importance)
        masks_JP = at_points(matching.of_objects(masks).to(logits_JYX.dtype), points_JP2)
        logits_JP = at_points(logits_JYX, points_JP2)
        p_JP = logits_JP.sigmoid()
        crossed_J = F.binary_cross_entropy_with_logits(logits_JP, masks_JP, reduction="none").mean(1)
        apart_J = 1 - (2 * (p_JP * masks_JP).sum(-1) + 1) / (p_JP.sum(-1) + masks_JP.sum(-1) + 1)
        return {
            "masks": self.cross_entropy * crossed_J.sum() / count,
            "dice": self.dice * apart_J.sum() / count,
        }


def _masks(given: SetPrediction | Objects) -> Tensor:
    if given.masks is None:
        raise ValueError(f"masks are needed here, and {type(given).__name__} has none")
    return given.masks
