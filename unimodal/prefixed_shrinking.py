"""Prefixed shrinking: the lattice shrinks, the prefix goes around it by a linear map, and scores are averaged.

Source: between the last stages of a pyramid with a class token: Li et al. 2022, arXiv:2201.09450, and its code
github.com/Sense-X/UniFormer, image_classification/models/uniformer_light.py.
Axes: B rows, N tokens, M tokens after it, R prefix tokens, D width before, E width after, S sequences of one lattice.
"""

from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.lattice_shrinking import shrink_lattice
from unimodal.part import Part
from unimodal.tokens import Tokens

__all__ = ["PrefixedShrinking"]


class PrefixedShrinking(nn.Module):
    """[t, x] becomes [W t + b, shrink(x)]. A cell's score is the mean of those of the S x S cells it stands for.

    The scores are then brought to the sum that they had before: they are shares of attention among fewer tokens now.

    Args:
        dim: Width D.
        shrink: What makes fewer tokens of a lattice of two axes, one of every S x S cells, a rest at the far border
            left out; e.g. a :class:`~unimodal.downsampling.Downsampling` by patches.

    Shapes:
        tokens: x (B, R + N, D), side.score (B, R + N) or None;  returns Tokens with x (B, R + M, E), in the same
            layout, and scores if there were any.

    Raises:
        ValueError: the tokens have no prefix; there are scores and ``shrink`` gives another lattice than said above;
            what ``shrink`` refuses.
    """

    def __init__(self, dim: int, *, shrink: Part) -> None:
        super().__init__()
        self.shrink: Any = shrink(dim)
        self.width, self.stride = self.shrink.width, self.shrink.stride
        self.to_prefix = nn.Linear(dim, self.width)

    def forward(self, tokens: Tokens) -> Tokens:
        prefix = tokens.side.prefix
        if prefix < 1:
            raise ValueError("the tokens have no prefix that could go around the lattice")
        padded = tokens.padded()
        lattice = padded.lattice()
        made, changes = self.shrink(lattice), dict[str, Any](prefix=prefix)
        if lattice.side.score is not None:
            scores = shrink_lattice(self._averaged, lattice.replace(lattice.side.score[..., None]))
            if (scores.side.grid, scores.side.grids) != (made.side.grid, made.side.grids):
                raise ValueError(f"scores are of whole {self.stride} x {self.stride} cells, and the tokens are not")
            changes["score"] = F.pad(scores.x[..., 0], (prefix, 0))
        if made.side.lengths is not None:
            changes["lengths"] = made.side.lengths + prefix
        made = made.replace(torch.cat([self.to_prefix(padded.x[:, :prefix]), made.x], 1), **changes)
        return made if tokens.side.cu_seqlens is None else made.packed()

    def _averaged(self, map_S1YX: Tensor) -> Tensor:
        made = F.avg_pool2d(map_S1YX, self.stride)
        return made * (map_S1YX.sum((2, 3), keepdim=True) / made.sum((2, 3), keepdim=True))
