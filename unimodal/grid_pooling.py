"""Grid pooling: as many tokens whatever the lattice, each the average of a box of it.

Source: He et al. 2014, arXiv:1406.4729, sec. 2.2 (bins in proportion to the map); as keys of an attention, by a map, a
norm and an activation: Wang et al. 2021, arXiv:2106.13797, sec. 3.2, and its code github.com/whai362/PVT,
classification/pvt_v2.py.
Axes: B rows, N tokens, D width, E width behind, C cells of an axis, n its cells before.
"""

from typing import Any

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.lattice_shrinking import shrink_lattice
from unimodal.part import Part
from unimodal.tokens import Tokens

__all__ = ["GridPooling"]


class GridPooling(nn.Module):
    """y = behind(z),  z[i, j] the mean of x over the rows floor(i n / C) .. ceil((i + 1) n / C) - 1, and columns alike.

    The boxes cover the lattice, and overlap where C does not divide n; a lattice may be smaller than C x C.

    Args:
        dim: Width D.
        cells: C, the same for both axes.
        behind: What becomes of each token, e.g. a :class:`~unimodal.chain.Chain` of a map and a norm, or None.

    Shapes:
        tokens: x (B, N, D) on a lattice of two axes;  returns Tokens with x (B, C C, E) on a lattice of C x C.

    Raises:
        ValueError: ``cells`` is not positive; the tokens have a prefix or no lattice of two axes; a mask, bias, memory
            or causal order is set; what ``behind`` refuses.
    """

    def __init__(self, dim: int, *, cells: int = 7, behind: Part | None = None) -> None:
        super().__init__()
        if cells < 1:
            raise ValueError(f"cells must be positive, not {cells}")
        self.cells = cells
        self.behind: Any = behind(dim) if behind is not None else None
        self.width = getattr(self.behind, "width", dim)

    def forward(self, tokens: Tokens) -> Tokens:
        return shrink_lattice(self._pooled, tokens, behind=self.behind)

    def _pooled(self, map_SD: Tensor) -> Tensor:
        if map_SD.ndim != 4:
            raise ValueError(f"a lattice of two axes is needed here, not {tuple(map_SD.shape[2:])}")
        return F.adaptive_avg_pool2d(map_SD, self.cells)
