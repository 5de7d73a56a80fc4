"""Average pooling: fewer tokens, each the average of a box of cells of the lattice.

Source: He et al. 2018, arXiv:1812.01187, sec. 4.2 (an average in front of a map instead of a strided map); between
stages: Li et al. 2022, arXiv:2207.05501, and its code github.com/bytedance/Next-ViT, classification/nextvit.py
(``PatchEmbed``); as the low frequencies that keys come from: Tan et al. 2023, arXiv:2311.05707.
Axes: B rows, N tokens, M tokens after it, D width before, E width after, S sequences of one lattice.
"""

from typing import Any

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.lattice_shrinking import shrink_lattice
from unimodal.part import Part
from unimodal.tokens import Tokens

__all__ = ["AveragePooling"]


class AveragePooling(nn.Module):
    """y = behind(z),  z the mean of x over boxes of S x S cells that tile the lattice; the last ones may be cut.

    So an axis of n cells gets n / S, rounded up, and every token counts once. A constant stays what it is, and what
    alternates from cell to cell is gone: the average of a box keeps the low frequencies alone.

    Args:
        dim: Width D.
        stride: S in cells.
        behind: What becomes of each token, e.g. a :class:`~unimodal.chain.Chain` of a map and a norm, or None.

    Shapes:
        tokens: x (B, N, D) on a lattice of two axes;  returns Tokens with x (B, M, E) and the new lattice, in the same
            layout, padded or packed.

    Raises:
        ValueError: the stride is not positive; the tokens have a prefix or no lattice of two axes; a mask, bias, memory
            or causal order is set; what ``behind`` refuses.
    """

    def __init__(self, dim: int, *, stride: int = 2, behind: Part | None = None) -> None:
        super().__init__()
        if stride < 1:
            raise ValueError(f"stride must be positive, not {stride}")
        self.stride = stride
        self.behind: Any = behind(dim) if behind is not None else None
        self.width = getattr(self.behind, "width", dim)

    @property
    def averages(self) -> bool:
        """Whether the pooled a x + b is a times the pooled x plus b, whatever the factors and shifts a channel."""
        return self.behind is None

    def forward(self, tokens: Tokens) -> Tokens:
        return shrink_lattice(self._pooled, tokens, behind=self.behind)

    def _pooled(self, map_SD: Tensor) -> Tensor:
        if map_SD.ndim != 4:
            raise ValueError(f"a lattice of two axes is needed here, not {tuple(map_SD.shape[2:])}")
        return F.avg_pool2d(map_SD, self.stride, ceil_mode=True, count_include_pad=False)
