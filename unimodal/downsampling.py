"""Downsampling: fewer and wider tokens, by a convolution over the lattice whose stride is above one.

Source: between the stages of convolutional networks: Liu et al. 2022, arXiv:2201.03545, sec. 2.6 (a norm in front);
Ding et al. 2024, arXiv:2311.15599 (a norm behind).
Axes: B rows, N tokens, M tokens after it, D width before, E width after, Y X the lattice.
"""

import torch.nn as nn
from torch import Tensor

from unimodal.cells import tokens_of_cells
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.tokens import Tokens

__all__ = ["Downsampling"]


class Downsampling(nn.Module):
    """y = behind(conv(before(x))), a convolution of K x K every S cells with ``padding`` zeros around the lattice.

    An axis of n cells gets (n + 2 padding - K) // S + 1; with K = 3, S = 2 and the default padding n / 2, rounded up.
    What a lattice of tokens had besides (positions, sizes) is not that of the new one and is left out.

    Args:
        dim: Width D.
        width: Width E.
        kernel: K in cells.
        stride: S in cells.
        padding: Zeros at each edge, in cells; None for (K - 1) // 2.
        before: Norm of width D in front of the convolution, or None.
        behind: Norm of width E behind it, or None.
        bias: Whether the convolution has a bias.

    Shapes:
        tokens: x (B, N, D) on a lattice of two axes;  returns Tokens with x (B, M, E) and the new lattice, in the same
            layout, padded or packed.

    Raises:
        ValueError: kernel or stride not positive, or padding negative; the tokens have a prefix, no lattice of two axes
            or one smaller than the kernel; a mask, bias, memory or causal order is set.
    """

    def __init__(
        self,
        dim: int,
        *,
        width: int,
        kernel: int = 3,
        stride: int = 2,
        padding: int | None = None,
        before: Part | None = None,
        behind: Part | None = Part(LayerNorm),
        bias: bool = True,
    ) -> None:
        super().__init__()
        padding = (kernel - 1) // 2 if padding is None else padding
        if kernel < 1 or stride < 1 or padding < 0:
            said = f"kernel={kernel}, stride={stride}, padding={padding}"
            raise ValueError(f"kernel and stride must be positive and padding not negative, not {said}")
        self.width, self.kernel, self.stride, self.padding = width, kernel, stride, padding
        self.before = before(dim) if before is not None else None
        self.convolution = nn.Conv2d(dim, width, kernel, stride, padding, bias=bias)
        self.behind = behind(width) if behind is not None else None
        nn.init.trunc_normal_(self.convolution.weight, std=0.02)
        if self.convolution.bias is not None:
            nn.init.zeros_(self.convolution.bias)

    def forward(self, tokens: Tokens) -> Tokens:
        side = tokens.side.honour("lengths", "cu_seqlens")
        if side.prefix:
            raise ValueError(f"the {side.prefix} prefix tokens are off the lattice and have no place in a smaller one")
        tokens = tokens if self.before is None else tokens.replace(self.before(tokens.x, side))
        if side.grid is not None and side.lengths is None and side.cu_seqlens is None:
            maps = tokens.x.mT.unflatten(-1, side.grid)
        else:
            rows = zip(tokens.split(), side.lattices(tokens.sequences), strict=True)
            maps = [x_ND.mT.unflatten(-1, grid) for x_ND, grid in rows]
        made = tokens_of_cells(maps, self._convolved, modality="")
        made = made if side.cu_seqlens is not None or isinstance(maps, Tensor) else made.padded()
        made = made.replace(modality=side.modality if isinstance(side.modality, str) else None)
        return made if self.behind is None else made.replace(self.behind(made.x, made.side))

    def _convolved(self, map_BDYX: Tensor) -> Tensor:
        sizes = tuple(map_BDYX.shape[2:])
        if len(sizes) != 2 or min(sizes) + 2 * self.padding < self.kernel:
            raise ValueError(f"a lattice of two axes, no smaller than the kernel, is needed here, not {sizes}")
        return self.convolution(map_BDYX)
