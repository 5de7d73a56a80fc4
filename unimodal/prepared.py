"""Prepared: a core, such as a pyramid's stage, whose tokens first get positions and learned tokens in front.

Source: a table of positions for every stage, a class token for the last one: Wang et al. 2021, arXiv:2102.12122, sec.
3.2, and its code github.com/whai362/PVT, classification/pvt.py; a class token for the last stage: Wu et al. 2021,
arXiv:2103.15808, sec. 3.
Axes: B rows, N tokens, D width, R prefix tokens.
"""

from collections.abc import Sequence
from typing import Any

import torch.nn as nn

from unimodal.part import Part
from unimodal.prefix import Prefix
from unimodal.tokens import Tokens

__all__ = ["Prepared"]


class Prepared(nn.Module):
    """y = core([t_1 .. t_R, x + p]), as a :class:`~unimodal.model.Model` does it in front of its core.

    The prefix tokens get no position: their own vectors can hold one. The result has them too, so a class token of the
    last stage can be read from it, and its lattice is that of the other tokens.

    Args:
        dim: Width D.
        core: A core part, e.g. a :class:`~unimodal.transformer.Transformer`.
        position: A position part that acts on tokens, or None.
        prefix: R.

    Shapes:
        tokens.x: (B, N, D);  returns Tokens with x (B, R + N, E), E the core's width.

    Raises:
        ValueError: ``position`` acts on heads, ``prefix`` is negative; what the parts refuse.
    """

    def __init__(self, dim: int, *, core: Part, position: Part | None = None, prefix: int = 0) -> None:
        super().__init__()
        if prefix < 0:
            raise ValueError(f"prefix must not be negative, not {prefix}")
        self.position: Any = position(dim) if position is not None else None
        if getattr(self.position, "applies_to", "tokens") != "tokens":
            raise ValueError(f"position {type(self.position).__name__} acts on heads, not on tokens")
        self.prefix = Prefix(dim, count=prefix) if prefix else None
        self.core: Any = core(dim)
        self.width = getattr(self.core, "width", dim)

    def forward(self, tokens: Tokens) -> Tokens:
        return self.core(self._prepared(tokens))

    def features(self, tokens: Tokens, depths: Sequence[int]) -> list[Tokens]:
        """The core's features of the tokens with positions and prefix."""
        return self.core.features(self._prepared(tokens), depths)

    def _prepared(self, tokens: Tokens) -> Tokens:
        tokens = tokens if self.position is None else tokens.replace(self.position(tokens.x, tokens.side))
        return tokens if self.prefix is None else self.prefix(tokens)
