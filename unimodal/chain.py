"""Chain: parts in a row, each one reading what the one before it made.

Source: the branches of convolutional blocks as maps, norms and activations in a row: He et al. 2015, arXiv:1512.03385,
fig. 5; a convolutional position in front of a block: Li et al. 2022, arXiv:2201.09450, sec. 3.1.
Axes: B rows, N tokens, D width in front, E width behind.
"""

from collections.abc import Callable
from typing import Any

import torch.nn as nn
from torch import Tensor

from unimodal.folding import folded_row
from unimodal.part import Part
from unimodal.sharing_copy import sharing_copy
from unimodal.side import Side

__all__ = ["Chain"]


class Chain(nn.Module):
    """y = f_n(... f_2(f_1(x))). A chain is a mixer, a feed-forward, a block or a norm, by what stands in it.

    A part that changes the width says so with ``width``, and the next one is made for it. Behind a part that always
    writes to memory of its own (``writes_anew``), one that can write over what it reads (``overwrite``) does.

    Args:
        dim: Width D.
        parts: f_1 .. f_n.

    Shapes:
        x: (B, N, D);  returns (B, N, E), E the last part's width (``width``).

    Raises:
        ValueError: an empty chain; what the parts refuse.
    """

    def __init__(self, dim: int, *, parts: tuple[Part, ...]) -> None:
        super().__init__()
        if not parts:
            raise ValueError("a chain has at least one part")
        self.width, self.parts = dim, nn.ModuleList()
        for part in parts:
            made: Any = part(self.width)
            self.width = getattr(made, "width", self.width)
            self.parts.append(made)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        owned = False  # whether x is memory that a part of the chain made and nobody else has
        for part in self.parts:
            made: Any = part
            x = made.overwrite(x) if owned and hasattr(made, "overwrite") else part(x, side)
            owned = getattr(made, "writes_anew", False)
        return x

    def deployed(self) -> "Chain":
        """The same outputs in use, with norms in the maps beside them (:func:`~unimodal.folding.folded_row`)."""
        made = sharing_copy(self)
        made.parts = nn.ModuleList(folded_row(made.parts))
        return made

    @property
    def scaled(self) -> "Callable[[Tensor, Tensor], Chain]":
        """``scaled(a, b)`` is the chain with the outputs a y + b; there is none where the last part has none."""
        return self._with(-1, self.parts[-1].scaled)

    @property
    def preceded(self) -> "Callable[[Tensor, Tensor], Chain]":
        """``preceded(a, b)`` is the chain that reads a x + b; there is none where the first part has none."""
        return self._with(0, self.parts[0].preceded)

    def _with(self, place: int, change: Any) -> "Callable[[Tensor, Tensor], Chain]":
        def changed(factor: Tensor, shift: Tensor) -> Chain:
            made = sharing_copy(self)
            made.parts[place] = change(factor, shift)
            return made

        return changed
