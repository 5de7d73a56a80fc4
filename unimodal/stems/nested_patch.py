"""Nested patch stem: each patch becomes a sentence and, behind it in the same token, the words that it consists of.

Source: Han et al. 2021, arXiv:2103.00112, sec. 2.2, eq. 1-3; a convolution inside each patch: timm's tnt.py.
Axes: B images, P channels, Y rows, X columns, N patches, D width of a sentence, M words of a patch, C width of a word.
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.positions.learned import Learned
from unimodal.side import Side

__all__ = ["NestedPatchStem"]


class NestedPatchStem(nn.Module):
    """words y = conv7x7(patch) + position;  sentence z = norm(W norm(y_1 .. y_M) + b);  cell = [z, y_1 .. y_M].

    The convolution sees zeros behind the edges of its own patch, so no pixel of another patch gets into a word. All
    patches share the positions of words. Pixels behind the last whole patch are dropped.

    Args:
        dim: D + M C, with M = (patch / stride)^2.
        width: D; None for what M words of half the width leave.
        patch: Side of a patch in px.
        stride: Distance of words in px.
        channels: P.
        eps: Of both norms.

    Shapes:
        pixels: (B, P, Y, X);  returns (B, D + M C, Y // patch, X // patch).

    Raises:
        ValueError: ``stride`` does not divide ``patch``, or M does not divide what ``width`` leaves of ``dim``.
    """

    def __init__(
        self,
        dim: int,
        *,
        width: int | None = None,
        patch: int = 16,
        stride: int = 4,
        channels: int = 3,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        if patch % stride:
            raise ValueError(f"stride must divide the patch of {patch} px, not {stride}")
        side = patch // stride
        self.words = side**2
        width = dim - self.words * max(1, dim // (2 * self.words)) if width is None else width
        if not 0 < width < dim or (dim - width) % self.words:
            raise ValueError(f"dim must be width + {self.words} x a whole number, not {dim} with width {width}")
        inner = (dim - width) // self.words
        self.stride, self.channels = patch, channels
        self.to_words = nn.Conv2d(channels, inner, 7, stride, 3)
        self.position = Part(Learned, grid=(side, side))(inner)
        self.norm_words = LayerNorm(self.words * inner, eps=eps)
        self.to_sentence = nn.Linear(self.words * inner, width)
        self.norm_sentence = LayerNorm(width, eps=eps)

    def forward(self, pixels: Tensor) -> Tensor:
        rows, columns = (n // self.stride for n in pixels.shape[-2:])
        patches_BNF = F.unfold(pixels, self.stride, stride=self.stride).mT
        patches = patches_BNF.unflatten(-1, (self.channels, self.stride, self.stride)).flatten(0, 1)
        words = self.to_words(patches)
        y_RMC = self.position(words.flatten(2).mT, Side(grid=tuple(words.shape[2:])))
        y_BNE = y_RMC.flatten(1).unflatten(0, (-1, rows * columns))
        z_BND = self.norm_sentence(self.to_sentence(self.norm_words(y_BNE)))
        return torch.cat([z_BND, y_BNE], dim=-1).mT.unflatten(-1, (rows, columns))
