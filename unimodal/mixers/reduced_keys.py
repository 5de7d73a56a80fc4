"""Reduced keys: attention of all tokens to fewer ones, made of them by whatever shrinks their lattice.

Source: Wang et al. 2021, arXiv:2102.12122, sec. 3.3 (spatial-reduction attention, there by a strided convolution and a
norm); by pooling: Wang et al. 2021, arXiv:2106.13797, sec. 3.2 (linear spatial reduction), and Li et al. 2022,
arXiv:2207.05501, sec. 3.3.
Axes: B rows, N tokens, R prefix tokens, M tokens of the smaller lattice, D width.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.by_lattice import by_lattice
from unimodal.part import Part
from unimodal.sharing_copy import sharing_copy
from unimodal.side import Side
from unimodal.tokens import Tokens

__all__ = ["ReducedKeys"]


class ReducedKeys(nn.Module):
    """y = mixer(x, memory = reduce(x)): queries of every token, keys and values of the reduced lattice.

    Prefix tokens are off the lattice: they are keys as they are, in front of the others. With a lattice that is not
    reduced this is the mixer on x alone.

    Args:
        dim: Width D.
        mixer: Attends to a memory, e.g. :class:`~unimodal.mixers.full.Full`.
        reduce: Tokens to fewer Tokens of width D, e.g. :class:`~unimodal.downsampling.Downsampling` whose kernel is its
            stride.

    Shapes:
        x: (B, N, D) on a lattice;  returns (B, N, D).

    Raises:
        ValueError: ``reduce`` has another width; the side has no lattice; a mask, bias, memory or causal order is set,
            for there is one key for several tokens; there are prefix tokens, and the keys' norm was folded, which
            they did not pass; what the parts refuse.

    Cost: O(B N (R + M) D) for the attention.
    """

    def __init__(self, dim: int, *, mixer: Part, reduce: Part) -> None:
        super().__init__()
        self.mixer: Any = mixer(dim)
        self.reduce: Any = reduce(dim)
        self.folded = False
        width = getattr(self.reduce, "width", dim)
        if width != dim:
            raise ValueError(f"reduce makes tokens of width {width}, and the mixer reads {dim}")

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        side.honour("lengths", "cu_seqlens")
        if self.folded and side.prefix:
            raise ValueError(f"the norm of the reduced keys was folded, which {side.prefix} prefix tokens did not pass")

        def of_group(grid: tuple[int, ...], x_SND: Tensor) -> Tensor:
            ahead, lattice = x_SND[:, : side.prefix], x_SND[:, side.prefix :]
            reduced = self.reduce(Tokens(lattice, Side(grid=grid))).x
            memory = Tokens(torch.cat([ahead, reduced], 1) if side.prefix else reduced)
            return self.mixer(x_SND, Side(grid=grid, prefix=side.prefix, memory=memory))

        return by_lattice(of_group, side, x)

    def deployed(self) -> "ReducedKeys":
        """The same outputs in use, without prefix tokens; a norm behind ``reduce`` is in the maps to keys and values.

        They read a z + b where the norm is a factor a and a shift b a channel in use.
        """
        behind = getattr(self.reduce, "behind", None)
        if not hasattr(behind, "affine") or not hasattr(self.mixer, "keyed"):
            return self
        made = sharing_copy(self)
        made.mixer, made.reduce.behind, made.folded = self.mixer.keyed(*behind.affine()), None, True  # pyright: ignore
        return made

    @property
    def preceded(self) -> "Callable[[Tensor, Tensor], ReducedKeys]":
        """``preceded(a, b)`` is the mixer that reads a x + b, where ``reduce`` averages, so that a and b pass it."""
        if not getattr(self.reduce, "averages", False):
            raise AttributeError("reduce does more than to average")
        queried = self.mixer.queried

        def changed(factor_D: Tensor, shift_D: Tensor) -> ReducedKeys:
            made = sharing_copy(self)
            made.mixer = queried(factor_D, shift_D).keyed(factor_D, shift_D)
            return made

        return changed
