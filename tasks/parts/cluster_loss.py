"""Cluster loss: every pixel belongs to one query, and classes and masks are weighted by each other as in their quality.

Source: Yu et al. 2022, arXiv:2207.04044, sec. 3; matching and weights: Wang et al. 2020, arXiv:2012.00759, sec. 3.2;
released code: github.com/bytedance/kmax-deeplab, kmax_deeplab/modeling/matcher.py and criterion.py.
Axes: B pictures, N queries, M objects, K classes, P pixels.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from unimodal.tasks.parts.matching import Matching
from unimodal.tasks.parts.objects import Objects
from unimodal.tasks.parts.set_prediction import SetPrediction

__all__ = ["ClusterLoss"]

_OBJECTS = 0.75  # share of objects in the classes' loss, against those queries that answer for nothing


class ClusterLoss:
    """Matched by the largest product p(class) x Dice(mask), masks a softmax over queries; void pixels count nowhere.

    Panoptic quality is recognition times segmentation. So the classes' cross-entropy is weighted by the Dice of the
    matched mask (for a query without an object by the share of its mask that is void), and the masks' Dice loss by the
    probability of the matched class; weights have no gradient. A third loss is the cross-entropy of the query at each
    pixel. Pairs and weights are the last layer's, and serve all layers.

    The released code, which we follow, divides the Dice loss by N (times 0.75), the classes' and pixels' losses by how
    many of a picture's terms are not 0, and takes the mean over pictures. Its instance discrimination of pixels and
    its semantic head are losses of other outputs and not here.

    Args:
        classes: Weight of the classes' loss.
        dice: Weight of the masks' Dice loss.
        pixels: Weight of the pixels' cross-entropy.
        least: Weights of queries are at least this.

    Raises:
        ValueError: there is no layer; a layer has no masks; masks and objects have different sizes.
    """

    def __init__(self, *, classes: float = 3.0, dice: float = 3.0, pixels: float = 0.3, least: float = 1e-5) -> None:
        self.classes, self.dice, self.pixels, self.least = classes, dice, pixels, least

    def __call__(self, layers: Sequence[SetPrediction], targets: Sequence[Objects]) -> dict[str, Tensor]:
        """{"classes", "dice", "pixels"}: weighted losses, summed over layers; their sum is what to minimise."""
        if not layers:
            raise ValueError("a cluster loss needs the predictions of at least one layer")
        wanted = [_flat(t) for t in targets]
        matching, dice, probability = self.match(layers[-1], targets)
        with torch.no_grad():
            last_BNP = _flat(layers[-1])
            shares_BNP = torch.zeros_like(last_BNP)
            shares_BNP[matching.places()] = matching.of_objects(wanted).to(last_BNP)
            shares_BNP /= shares_BNP.sum(1, keepdim=True).clamp(min=1)  # objects may overlap
            void_BP = shares_BNP.sum(1) < 1 - 1e-4
            p_BNP = last_BNP.softmax(1)
            of_classes_BN = (p_BNP * void_BP[:, None]).sum(-1) / (p_BNP.sum(-1) + 1e-5)
            of_classes_BN[matching.places()] = dice
            of_classes_BN = of_classes_BN.clamp(min=self.least)
            of_masks_BN = torch.zeros_like(of_classes_BN)
            of_masks_BN[matching.places()] = probability.clamp(min=self.least)
            nothing = layers[-1].classes.shape[-1] - 1
            classes_BN = matching.classes([t.classes for t in targets], last_BNP.shape[1], nothing)
            of_classes_BN = of_classes_BN * torch.where(classes_BN == nothing, 1 - _OBJECTS, _OBJECTS)
        total: dict[str, Tensor] = dict.fromkeys(("classes", "dice", "pixels"), last_BNP.new_zeros(()))
        for layer in layers:
            logits_BNP = _flat(layer)
            apart_BN = _apart(logits_BNP.softmax(1).masked_fill(void_BP[:, None], 0.0), shares_BNP) * of_masks_BN
            named_BN = F.cross_entropy(layer.classes.to(logits_BNP).mT, classes_BN, reduction="none") * of_classes_BN
            placed_BP = F.cross_entropy(logits_BNP, shares_BNP, reduction="none").masked_fill(void_BP, 0.0)
            total["classes"] = total["classes"] + self.classes * _mean_of_nonzero(named_BN)
            total["dice"] = total["dice"] + self.dice * _OBJECTS * apart_BN.mean()
            total["pixels"] = total["pixels"] + self.pixels * _mean_of_nonzero(placed_BP)
        return total

    @torch.no_grad()
    def match(self, prediction: SetPrediction, targets: Sequence[Objects]) -> tuple[Matching, Tensor, Tensor]:
        """The pairs, and of each (J,) its Dice similarity and the probability of its class."""
        dice, probability = [], []
        for logits_NP, classes_NK, objects in zip(_flat(prediction), prediction.classes, targets, strict=True):
            masks_MP = _flat(objects).to(logits_NP)
            if masks_MP.shape[1] != logits_NP.shape[1]:
                raise ValueError(
                    f"masks of {logits_NP.shape[1]} px cannot be compared with objects of {masks_MP.shape[1]}"
                )
            p_NP = logits_NP.softmax(0) * (masks_MP.sum(0) > 0)
            whole_NM = p_NP.sum(-1)[:, None] + masks_MP.sum(-1)
            dice.append(p_NP @ masks_MP.mT / (whole_NM / 2 + 1e-5))
            probability.append(classes_NK.to(logits_NP).softmax(-1)[:, objects.classes])
        matching = Matching.cheapest([-d * p for d, p in zip(dice, probability, strict=True)])
        pairs = list(zip(matching.queries, matching.objects, strict=True))
        chosen = [torch.cat([x[i, j] for x, (i, j) in zip(each, pairs, strict=True)]) for each in (dice, probability)]
        return matching, chosen[0], chosen[1]


def _flat(given: SetPrediction | Objects) -> Tensor:
    if given.masks is None:
        raise ValueError(f"masks are needed here, and {type(given).__name__} has none")
    return given.masks.flatten(-2).to(torch.promote_types(given.masks.dtype, torch.float32))


def _apart(p_BNP: Tensor, masks_BNP: Tensor) -> Tensor:
    both_BN, whole_BN = (p_BNP * masks_BNP).sum(-1), p_BNP.sum(-1) + masks_BNP.sum(-1)
    return 1 - (2 * both_BN + 1) / (whole_BN + 1)


def _mean_of_nonzero(loss: Tensor) -> Tensor:
    return (loss.sum(-1) / (loss != 0).sum(-1).clamp(min=1)).mean()
