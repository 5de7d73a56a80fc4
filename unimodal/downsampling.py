"""Downsampling: fewer and wider tokens, by a convolution over the lattice whose stride is above one.

Source: between the stages of convolutional networks: Liu et al. 2022, arXiv:2201.03545, sec. 2.6 (a norm in front);
Ding et al. 2024, arXiv:2311.15599 (a norm behind).
Axes: B rows, N tokens, M tokens after it, D width before, E width after, Y X the lattice.
"""

from typing import Any

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.channels_last import channels_last
from unimodal.folding import scaled
from unimodal.lattice_shrinking import shrink_lattice
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.sharing_copy import sharing_copy
from unimodal.tokens import Tokens

__all__ = ["Downsampling"]


class Downsampling(nn.Module):
    """y = behind(conv(before(x))), a convolution of K x K every S cells with ``padding`` zeros around the lattice.

    ``kernel``, ``stride`` and ``padding`` are one number for the two axes of a picture, or one for each of two or three
    axes, so that a clip keeps its frames where the first of ``stride`` is 1.

    An axis of n cells gets (n + 2 padding - K) // S + 1; with K = 3, S = 2 and the default padding n / 2, rounded up.
    What a lattice of tokens had besides (positions, sizes) is not that of the new one and is left out.

    Args:
        dim: Width D.
        width: Width E.
        kernel: K in cells.
        stride: S in cells.
        padding: Zeros at each edge, in cells; None for (K - 1) // 2.
        groups: Groups of channels that do not see one another; they divide D and E.
        before: Norm of width D in front of the convolution, or None.
        behind: Norm of width E behind it, or None.
        bias: Whether the convolution has a bias.

    Shapes:
        tokens: x (B, N, D) on a lattice of the kernel's axes;  returns Tokens with x (B, M, E) and the new lattice, in
            the same layout, padded or packed.

    Raises:
        ValueError: kernel or stride not positive, padding negative, or not all of as many axes, which are two or three;
            groups do not divide; the tokens have a prefix, no lattice of these axes or one smaller than the kernel; a
            mask, bias, memory or causal order is set.
    """

    def __init__(
        self,
        dim: int,
        *,
        width: int,
        kernel: int | tuple[int, ...] = 3,
        stride: int | tuple[int, ...] = 2,
        padding: int | tuple[int, ...] | None = None,
        groups: int = 1,
        before: Part | None = None,
        behind: Part | None = Part(LayerNorm),
        bias: bool = True,
    ) -> None:
        super().__init__()
        given = (kernel, stride, *(() if padding is None else (padding,)))
        axes = max((len(sizes) for sizes in given if not isinstance(sizes, int)), default=2)
        sides, steps = (_of_axes(sizes, axes) for sizes in (kernel, stride))
        zeros = tuple((n - 1) // 2 for n in sides) if padding is None else _of_axes(padding, axes)
        said = f"kernel={kernel}, stride={stride}, padding={padding}"
        if axes not in (2, 3) or {len(sides), len(steps), len(zeros)} != {axes}:
            raise ValueError(f"kernel, stride and padding must be of two or three axes, the same for all, not {said}")
        if min(*sides, *steps) < 1 or min(zeros) < 0:
            raise ValueError(f"kernel and stride must be positive and padding not negative, not {said}")
        if groups < 1 or dim % groups or width % groups:
            raise ValueError(f"groups must divide the widths {dim} and {width}, not {groups}")
        self.width, self.stride = width, stride
        self.before = before(dim) if before is not None else None
        made: Any = nn.Conv2d if axes == 2 else nn.Conv3d
        self.convolution = made(dim, width, sides, steps, zeros, groups=groups, bias=bias)
        self.behind = behind(width) if behind is not None else None
        nn.init.trunc_normal_(self.convolution.weight, std=0.02)
        if self.convolution.bias is not None:
            nn.init.zeros_(self.convolution.bias)
        channels_last(self.convolution)

    def forward(self, tokens: Tokens) -> Tokens:
        tokens = tokens if self.before is None else tokens.replace(self.before(tokens.x, tokens.side))
        return shrink_lattice(self._convolved, tokens, behind=self.behind)

    def deployed(self) -> "Downsampling":
        """The same outputs in use, with a norm behind that is affine then in the convolution."""
        made = sharing_copy(self)
        if hasattr(made.behind, "affine"):
            made.convolution, made.behind = scaled(made.convolution, *made.behind.affine()), None  # pyright: ignore
        return made

    def _convolved(self, map_BD: Tensor) -> Tensor:
        sizes, kernel = tuple(map_BD.shape[2:]), self.convolution.kernel_size
        zeros: Any = self.convolution.padding
        if len(sizes) != len(kernel) or any(n + 2 * z < k for n, z, k in zip(sizes, zeros, kernel, strict=True)):
            axes = "two axes" if len(kernel) == 2 else "three axes"
            raise ValueError(f"a lattice of {axes}, no smaller than the kernel, is needed here, not {sizes}")
        if len(kernel) == 3 and kernel[0] == self.convolution.stride[0] == 1 and not zeros[0]:
            return self._of_frames(map_BD)
        return self.convolution(map_BD)

    def _of_frames(self, clip_BDTYX: Tensor) -> Tensor:
        """The convolution where its kernel has one frame: the frames are so many pictures, for which it is faster."""
        pictures, own = clip_BDTYX.transpose(1, 2).flatten(0, 1), self.convolution
        weight, stride, zeros = own.weight[:, :, 0], own.stride[1:], own.padding[1:]
        made = F.conv2d(pictures, weight, own.bias, stride, zeros, groups=own.groups)
        return made.unflatten(0, (len(clip_BDTYX), -1)).transpose(1, 2)


def _of_axes(sizes: int | tuple[int, ...], axes: int) -> tuple[int, ...]:
    return (sizes,) * axes if isinstance(sizes, int) else tuple(sizes)
