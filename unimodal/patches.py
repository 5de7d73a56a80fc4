"""Patches: tokens of a patch stem back as the pictures whose patches they are.

Axes: N tokens, C channels, Y rows, X columns, K values of a patch.
"""

from typing import Any

import torch.nn.functional as F
from torch import Tensor

from unimodal.cells import projected_from
from unimodal.stems.patch import PatchStem
from unimodal.tokens import Tokens

__all__ = ["pictures_from"]


def pictures_from(tokens: Tokens, stem: Any) -> list[Tensor]:
    """The values whose patches were projected, by the pseudo-inverse; prefix tokens are dropped.

    Shapes:
        returns one float64 (C, Y, X) a sequence, without what lay behind the last whole patch.

    Raises:
        ValueError: the stem is no PatchStem, or its projection has more inputs than it has independent outputs, so
            that different pictures have the same tokens; or the tokens have no lattice.
    """
    if not isinstance(stem, PatchStem):
        raise ValueError(f"only a PatchStem can be inverted, and the stem is a {type(stem).__name__}")
    tokens, patch = tokens.lattice(), stem.stride
    pictures = []
    for x_ND, (rows, columns) in zip(tokens.split(), tokens.side.lattices(tokens.sequences), strict=True):
        values_KN = projected_from(x_ND, stem.project.weight, stem.project.bias).mT
        pictures.append(F.fold(values_KN[None], (rows * patch, columns * patch), patch, stride=patch)[0])
    return pictures
