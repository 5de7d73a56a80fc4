"""Segmenter: linear maps of a network's tokens, resized to the pixels, tell the class of each of them."""

from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.lattice import as_map
from unimodal.sample import Batch

__all__ = ["Segmenter", "mean_iou"]


class Segmenter(nn.Module):
    """Logits of each pixel's class from a model's tokens, or the sum of those from the levels of a pyramid.

    Args:
        model: Gives the tokens.
        levels: How many of its features are read, or 0 for the tokens that come out at last.
        classes: How many, the first of which is none of the others.
    """

    def __init__(self, model: Any, levels: int, classes: int) -> None:
        super().__init__()
        self.model, self.depths = model, list(range(1, levels + 1))
        widths = getattr(model.transformer, "widths", (model.dim,) * (levels + 1))[1:] if levels else (model.dim,)
        self.heads = nn.ModuleList(nn.Linear(width, classes) for width in widths)

    def forward(self, pixels: Tensor) -> Tensor:
        batch = Batch("image", pixels)
        seen = self.model.features(batch, self.depths) if self.depths else [self.model(batch)]
        maps = [
            as_map(head(own.x), own.side.grid)
            for head, own in zip(self.heads, (tokens.lattice() for tokens in seen), strict=True)
        ]
        each = [F.interpolate(m, size=pixels.shape[-2:], mode="bilinear", align_corners=False) for m in maps]
        return torch.stack(each).sum(0)


@torch.inference_mode()
def mean_iou(net: Segmenter, pixels: Tensor, classes: Tensor, batch: int = 16) -> float:
    """Mean over all classes but the first of their IoU on all pictures together."""
    logits = torch.cat([net(part) for part in pixels.split(batch)])
    found, ious = logits.argmax(1), []
    for kind in range(1, logits.shape[1]):
        own, true = found == kind, classes == kind
        ious.append(float((own & true).sum() / (own | true).sum().clamp(min=1)))
    return sum(ious) / len(ious)
