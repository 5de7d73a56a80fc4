"""Detector: a plain encoder whose last prefix tokens stand for objects, each read as a class and a box.

Source: Fang et al. 2021, arXiv:2106.00666, sec. 3.1 (detection tokens, heads of three layers).
Axes: B pictures, Q detection tokens, K classes, R prefix tokens.
"""

from typing import Any

import torch.nn as nn
from torch import Tensor

from unimodal.detection_prediction import DetectionPrediction
from unimodal.part import Part
from unimodal.sample import Batch

__all__ = ["Detector"]


class Detector(nn.Module):
    """classes(t_q), sigmoid(boxes(t_q)) for the last Q of the encoder's R prefix tokens

    The paper puts these tokens behind the patches. Full attention does not know the order of its tokens, so in front
    of them they say the same.

    Args:
        encoder: A Model part with at least Q prefix tokens.
        classes: K.
        queries: Q.

    Shapes:
        forward: a batch of B pictures of one size;  returns logits (B, Q, K + 1) and boxes (B, Q, 4).

    Raises:
        ValueError: no class or query is asked for, the encoder has fewer prefix tokens, or pictures differ in size.
    """

    def __init__(self, *, encoder: Part, classes: int, queries: int) -> None:
        super().__init__()
        if classes < 1 or queries < 1:
            raise ValueError(f"classes and queries must be at least 1, not {classes} and {queries}")
        self.encoder: Any = encoder()
        held = 0 if self.encoder.prefix is None else self.encoder.prefix.count
        if held < queries:
            raise ValueError(f"{queries} queries need as many prefix tokens, and the encoder has {held}")
        self.queries, width = queries, self.encoder.dim
        self.to_classes = nn.ModuleList(nn.Linear(width, out) for out in (width, width, classes + 1))
        self.to_boxes = nn.ModuleList(nn.Linear(width, out) for out in (width, width, 4))

    def forward(self, batch: Batch) -> DetectionPrediction:
        tokens = self.encoder(batch)
        if tokens.side.cu_seqlens is not None:
            raise ValueError("pictures of one size are detected together; these differ in size")
        found = tokens.x[:, tokens.side.prefix - self.queries : tokens.side.prefix]
        return DetectionPrediction(_through(self.to_classes, found), _through(self.to_boxes, found).sigmoid())


def _through(layers: nn.ModuleList, x: Tensor) -> Tensor:
    *hidden, last = layers
    for layer in hidden:
        x = layer(x).relu()
    return last(x)
