"""Raster pooling: fewer tokens, each the average of tokens that follow one another row by row.

Source: Li et al. 2022, arXiv:2207.05501, sec. 3.3, in the form of its code github.com/bytedance/Next-ViT,
classification/nextvit.py (``E_MHSA``), which pools the flattened map.
Axes: B rows, N tokens, M tokens after it, D width before, E width after, S sequences of one lattice.
"""

from typing import Any

import torch.nn as nn
from torch import Tensor

from unimodal.lattice_shrinking import shrink_lattice
from unimodal.part import Part
from unimodal.tokens import Tokens

__all__ = ["RasterPooling"]


class RasterPooling(nn.Module):
    """y = behind(z),  z_m the mean of x_n over n = C m .. C m + C - 1, in C order of the lattice.

    These C cells are a piece of a row, or end one and begin the next: not a box, unlike those of
    :class:`~unimodal.average_pooling.AveragePooling`. Tokens behind the last whole C are in no average.

    Args:
        dim: Width D.
        cells: C.
        behind: What becomes of each token, or None.

    Shapes:
        tokens: x (B, N, D) on a lattice;  returns Tokens with x (B, M, E), M = N // C, on a lattice of one axis.

    Raises:
        ValueError: ``cells`` is not positive, or the lattice has fewer; the tokens have a prefix or no lattice; a mask,
            bias, memory or causal order is set; what ``behind`` refuses.
    """

    def __init__(self, dim: int, *, cells: int, behind: Part | None = None) -> None:
        super().__init__()
        if cells < 1:
            raise ValueError(f"cells must be positive, not {cells}")
        self.cells = cells
        self.behind: Any = behind(dim) if behind is not None else None
        self.width = getattr(self.behind, "width", dim)

    @property
    def averages(self) -> bool:
        """Whether the pooled a x + b is a times the pooled x plus b, whatever the factors and shifts a channel."""
        return self.behind is None

    def forward(self, tokens: Tokens) -> Tokens:
        return shrink_lattice(self._pooled, tokens, behind=self.behind)

    def _pooled(self, map_SD: Tensor) -> Tensor:
        x_SND = map_SD.flatten(2).mT
        kept = x_SND.shape[1] // self.cells
        if not kept:
            raise ValueError(f"a lattice of at least {self.cells} cells is needed here, not {tuple(map_SD.shape[2:])}")
        return x_SND[:, : kept * self.cells].unflatten(1, (kept, self.cells)).mean(2).mT
