"""Transformer: blocks one after another, cycled over depth, with weights shared in groups.

Source: Vaswani et al. 2017, arXiv:1706.03762; shared weights: Lan et al. 2019, arXiv:1909.11942, sec. 3.1; linear ramp
of stochastic depth: Huang et al. 2016, arXiv:1603.09382, eq. 4.
Axes: B rows, N tokens, D width, E width behind the last block.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch.nn as nn

from unimodal.part import Part
from unimodal.tokens import Tokens

__all__ = ["Transformer"]


class Transformer(nn.Module):
    """depth blocks, the i-th made from ``blocks[i % len(blocks)]``.

    A block that changes the width says so with ``width``, as a :class:`~unimodal.chain.Chain` does, and the next one is
    made for it; E (``width``) is the last one's.

    Args:
        dim: Width D.
        depth: Number of block applications.
        blocks: A block part, or several that are cycled over depth.
        shared: Consecutive layers that use one set of weights; 1 shares nothing. It must divide depth, and all
            layers of a group must have the same part.
        drop_path: Stochastic depth of the last layer; it grows linearly from 0 at the first (in the paper from
            rate / depth), in steps where weights are shared. 0 leaves the blocks' own rates as they are.
        norm: Norm after the last block, or None.

    Shapes:
        tokens.x: (B, N, D);  returns Tokens with x (B, N, E) and the same side.

    Raises:
        ValueError: depth is not positive, groups do not fit, or a depth asked of :meth:`features` does not exist.
    """

    def __init__(
        self,
        dim: int,
        *,
        depth: int,
        blocks: Part | tuple[Part, ...],
        shared: int = 1,
        drop_path: float = 0.0,
        norm: Part | None = None,
    ) -> None:
        super().__init__()
        pattern = (blocks,) if isinstance(blocks, Part) else tuple(blocks)
        if depth < 1 or not pattern:
            raise ValueError(f"depth must be positive and blocks not empty, not depth={depth}, blocks={pattern}")
        if shared < 1 or depth % shared:
            raise ValueError(f"shared={shared} does not divide depth={depth}")
        parts = [pattern[i % len(pattern)] for i in range(depth)]
        if drop_path:
            last = max(depth // shared - 1, 1)
            parts = [part.replace(drop_path=drop_path * (i // shared) / last) for i, part in enumerate(parts)]
        groups = [parts[i : i + shared] for i in range(0, depth, shared)]
        for group in groups:
            if len(list(groupby(group))) > 1:
                raise ValueError(f"layers that share weights have different blocks: {group}")
        self.depth, self.shared = depth, shared
        self.width, self.blocks = dim, nn.ModuleList()
        for group in groups:
            block: Any = group[0](self.width)
            self.width = getattr(block, "width", self.width)
            self.blocks.append(block)
        self.norm = norm(self.width) if norm is not None else None

    def forward(self, tokens: Tokens) -> Tokens:
        x, side = tokens.x, tokens.side
        for i in range(self.depth):
            x = self.blocks[i // self.shared](x, side)
        return Tokens(x if self.norm is None else self.norm(x, side), side)

    def features(self, tokens: Tokens, depths: Sequence[int]) -> list[Tokens]:
        """The tokens after each of ``depths`` blocks (0 = before the first), the last depth through the norm."""
        bad = [d for d in depths if not 0 <= d <= self.depth]
        if bad or list(depths) != sorted(depths):
            raise ValueError(f"depths must ascend within 0..{self.depth}, not {list(depths)}")
        x, side, kept = tokens.x, tokens.side, []
        for i in range(max(depths, default=-1) + 1):
            x = self.blocks[(i - 1) // self.shared](x, side) if i else x
            last = self.norm is not None and i == self.depth
            kept += [Tokens(self.norm(x, side) if last else x, side)] * list(depths).count(i)  # pyright: ignore[reportOptionalCall]
        return kept
