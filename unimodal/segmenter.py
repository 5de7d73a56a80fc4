"""Segmenter: a pyramid of a picture, a pixel decoder and a mask transformer; one model for every kind of segmentation.

Source: Cheng et al. 2021, arXiv:2112.01527, sec. 3.1 (meta architecture).
Axes: B pictures.
"""

from typing import Any

import torch.nn as nn
from torch import Tensor

from unimodal.mask_prediction import MaskPrediction
from unimodal.part import Part
from unimodal.sample import Batch
from unimodal.tokens import Tokens

__all__ = ["Segmenter"]


class Segmenter(nn.Module):
    """masks(pixels(norm_d(encoder's features)))

    Args:
        encoder: A Model part whose core is a pyramid.
        pixels: Pixel decoder, made for the widths of the features.
        masks: Mask transformer, made for the widths of the levels and of the mask features.
        depths: Which of the encoder's features are read, ascending: the finest first.
        norm: A norm of each feature, or None.

    Shapes:
        forward: a batch of B pictures of one size;  returns the mask transformer's predictions, the last one the best.

    Raises:
        ValueError: the encoder's core has no widths of features, or none of a depth; what the parts refuse.
    """

    def __init__(
        self,
        *,
        encoder: Part,
        pixels: Part,
        masks: Part,
        depths: tuple[int, ...] = (1, 2, 3, 4),
        norm: Part | None = None,
    ) -> None:
        super().__init__()
        self.encoder: Any = encoder()
        known = getattr(self.encoder.transformer, "widths", ())
        if bad := [depth for depth in depths if not 0 <= depth < len(known)]:
            raise ValueError(f"the encoder has features of depths 0..{len(known) - 1}, not of {bad}")
        widths = tuple(known[depth] for depth in depths)
        self.depths = tuple(depths)
        self.norms = nn.ModuleList(nn.Identity() if norm is None else norm(width) for width in widths)
        self.pixels: Any = pixels(widths)
        self.masks = masks(self.pixels.width, self.pixels.fine_width)

    def forward(self, batch: Batch, task: Tensor | None = None) -> list[MaskPrediction]:
        features: list[Tokens] = self.encoder.features(batch, self.depths)
        normed = [f.replace(norm(f.x)) for norm, f in zip(self.norms, features, strict=True)]
        return self.masks(*self.pixels(normed), task)
