"""Patch merging: fewer and wider tokens, each a linear map of two by two neighbours.

Source: Liu et al. 2021, arXiv:2103.14030, sec. 3.1; norm, order and zeros: github.com/microsoft/Swin-Transformer,
models/swin_transformer.py.
Axes: B rows, N tokens, M tokens after it, D width before, E width after, S sequences of one lattice, Y X the lattice.
"""

import torch.nn as nn
from torch import Tensor

from unimodal.lattice_shrinking import shrink_lattice
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.tokens import Tokens
from unimodal.window_order import WindowOrder, window_order
from unimodal.windows import to_windows

__all__ = ["PatchMerging"]


class PatchMerging(nn.Module):
    """y[p, q] = W norm([x[2p, 2q], x[2p + 1, 2q], x[2p, 2q + 1], x[2p + 1, 2q + 1]]), x = 0 behind an odd edge.

    Unlike :class:`~unimodal.downsampling.Downsampling` with kernel and stride 2, it norms the 4 D numbers of four
    neighbours together. What a lattice of tokens had besides (positions, sizes) is left out.

    Args:
        dim: Width D.
        width: Width E; None for 2 D.
        norm: Norm of the 4 D numbers.

    Shapes:
        tokens: x (B, N, D) on a lattice of two axes;  returns Tokens with x (B, M, E) and half the lattice, rounded
            up, in the same layout, padded or packed.

    Raises:
        ValueError: the tokens have a prefix or no lattice of two axes; a mask, bias, memory or causal order is set.
    """

    def __init__(self, dim: int, *, width: int | None = None, norm: Part = Part(LayerNorm)) -> None:
        super().__init__()
        self.width, self.stride = 2 * dim if width is None else width, 2
        self.norm = norm(4 * dim)
        self.reduction = nn.Linear(4 * dim, self.width, bias=False)

    def forward(self, tokens: Tokens) -> Tokens:
        return shrink_lattice(self._merged, tokens)

    def _merged(self, map_SDYX: Tensor) -> Tensor:
        sizes = tuple(map_SDYX.shape[2:])
        if len(sizes) != 2:
            raise ValueError(f"a lattice of two axes is needed here, not {sizes}")
        order = window_order(sizes, (2, 2), (0, 0))
        down_first = order.cells.reshape(-1, 4)[:, [0, 2, 1, 3]].ravel()
        four_SM4D = (
            to_windows(map_SDYX.flatten(2).mT, WindowOrder(down_first, *order[1:])).unflatten(1, (-1, 4)).flatten(2)
        )
        return self.reduction(self.norm(four_SM4D)).mT.unflatten(-1, tuple(-(-n // 2) for n in sizes))
