"""Repositioned: a transformer whose tokens are told their position again in front of every block.

Source: Yu et al. 2021, arXiv:2111.14819, in its released code; Pang et al. 2022, arXiv:2203.06604, sec. 3.2
("positional embeddings are added to each Transformer block"); Carion et al. 2020, arXiv:2005.12872, appendix A.3.
Axes: B rows, N tokens, D width, R prefix tokens.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.part import Part
from unimodal.places import places
from unimodal.tokens import Tokens

__all__ = ["Repositioned"]


class Repositioned(nn.Module):
    """x = block_i(x + p) for each block of ``core``, with one p for all; then the core's norm.

    p is what ``position`` adds to a token, and for a prefix token a learned vector of its own: added again and again
    it cannot be a part of the token, as it is where positions are added once. The whole stream gets p, not queries
    and keys alone, so p stays in the residual.

    Args:
        dim: Width D.
        core: A Transformer.
        position: A position part that acts on tokens.
        prefix: R, prefix tokens that have a vector.

    Shapes:
        tokens.x: (B, N, D);  returns Tokens with x (B, N, D) and the same side.

    Raises:
        ValueError: ``position`` acts on heads, the tokens have fewer than R prefix tokens, or a depth asked of
            :meth:`features` does not exist.
    """

    def __init__(self, dim: int, *, core: Part, position: Part, prefix: int = 0) -> None:
        super().__init__()
        self.core = core(dim)
        self.position = position(dim)
        if getattr(self.position, "applies_to", "heads") != "tokens":
            raise ValueError(f"position {type(self.position).__name__} acts on heads, not on tokens")
        self.prefix = nn.Parameter(torch.empty(prefix, dim)) if prefix else None
        if self.prefix is not None:
            nn.init.trunc_normal_(self.prefix, std=0.02)

    @property
    def depth(self) -> int:
        """Block applications of the core."""
        return self.core.depth

    def forward(self, tokens: Tokens) -> Tokens:
        return self.features(tokens, (self.depth,))[0]

    def features(
        self, tokens: Tokens, depths: Sequence[int], behind: Callable[[Tensor, int], Tensor] | None = None
    ) -> list[Tokens]:
        """The tokens after each of ``depths`` blocks (0 = before the first), the last depth through the norm.

        ``behind(x, i)`` is what becomes of x (B, N, D) behind block i, counted from 0.
        """
        core: Any = self.core
        x, side, kept = tokens.x, tokens.side, []
        if list(depths) != sorted(depths) or any(not 0 <= d <= self.depth for d in depths):
            raise ValueError(f"depths must ascend within 0..{self.depth}, not {list(depths)}")
        place = self.offset(tokens)
        for i in range(max(depths, default=-1) + 1):
            x = core.blocks[(i - 1) // core.shared](x + place, side) if i else x
            x = behind(x, i - 1) if i and behind is not None else x
            norm = core.norm if i == self.depth else None
            kept += [Tokens(x if norm is None else norm(x, side), side)] * list(depths).count(i)
        return kept

    def offset(self, tokens: Tokens) -> Tensor:
        """p of every token, (B, N, D)."""
        x, side = tokens.x, tokens.side
        p_BND = self.position(torch.zeros_like(x), side)
        if self.prefix is None:
            return p_BND
        count = len(self.prefix)
        if side.prefix < count:
            raise ValueError(f"{count} prefix tokens have a vector here, and the tokens have {side.prefix}")
        rows_RD = F.pad(self.prefix, (0, 0, 0, 1)).to(x.dtype)  # the last one, 0, is for all further tokens
        return p_BND + F.embedding(places(side, x.shape[1], x.device).clamp(max=count), rows_RD)
