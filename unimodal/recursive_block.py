"""Recursive block: one set of weights applied several times, with a small map of its own behind each time.

Source: Shen et al. 2021, arXiv:2111.05297 (recursive operation, non-linear projection layer, sliced group
self-attention over the loops), as in its code github.com/szq0214/SReT, SReT.py, Transformer.
Axes: B rows, N tokens, D width, T loops.
"""

from typing import Any

import torch.nn as nn
from torch import Tensor

from unimodal.ffns.plain import Plain
from unimodal.part import Part
from unimodal.side import Side
from unimodal.weighted_residual import WeightedResidual

__all__ = ["RecursiveBlock"]


class RecursiveBlock(nn.Module):
    """x = P_t(F(x)) for t = 1 .. T: F is shared by all loops, P_t is the loop's own.

    Looped alone, F would have to serve every depth with one map and drifts to its fixed points; the P_t, cheap beside
    it, tell the loops apart. They are token by token, so all talk between tokens is F's.

    With ``slices`` a loop runs on groups of tokens as if each were a sequence: everything in F but attention is token
    by token, so this is F with attention within the groups. Loops take them in turn, and a permuted one lets tokens of
    different groups meet. Stochastic depth then skips a branch for a group, in the released code for a picture.

    Args:
        dim: Width D.
        blocks: F, a block part or several one after another, e.g. two of
            :class:`~unimodal.weighted_residual.WeightedResidual`.
        loops: T.
        project: P_t, a token-wise block part; the paper's is the default, with a hidden width of D or 2 D.
        slices: Parts of :class:`~unimodal.token_slices.TokenSlices`, or none; loop t uses ``slices[t % len(slices)]``.
        drop_path: Stochastic depth of F (where it is not 0).

    Shapes:
        x: (B, N, D);  returns (B, N, D).

    Raises:
        ValueError: ``loops`` is not positive, there are no blocks, more slices than loops, a memory meets slices; what
            F refuses.

    Cost: T times F's and P's time, F's parameters once and P's T times.
    """

    def __init__(
        self,
        dim: int,
        *,
        blocks: Part | tuple[Part, ...],
        loops: int = 2,
        project: Part = Part(WeightedResidual, branch=Part(Plain, ratio=1.0)),
        slices: tuple[Part, ...] = (),
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        parts = (blocks,) if isinstance(blocks, Part) else tuple(blocks)
        if loops < 1 or not parts:
            raise ValueError(f"loops must be positive and blocks not empty, not loops={loops}, blocks={parts}")
        if len(slices) > loops:
            raise ValueError(f"there are {len(slices)} slices for {loops} loops")
        rate = {"drop_path": drop_path} if drop_path else {}
        self.blocks = nn.ModuleList(part(dim, **rate) for part in parts)
        self.projections = nn.ModuleList(project(dim) for _ in range(loops))
        self.slices = nn.ModuleList(part() for part in slices)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        for t, project in enumerate(self.projections):
            x = project(self._shared(x, side, t), side)
        return x

    def _shared(self, x: Tensor, side: Side, loop: int) -> Tensor:
        if not len(self.slices):
            return self._applied(x, side)
        slices: Any = self.slices[loop % len(self.slices)]
        rows, rows_side, cut = slices.split(x, side)
        return slices.join(self._applied(rows, rows_side), cut)

    def _applied(self, x: Tensor, side: Side) -> Tensor:
        for block in self.blocks:
            x = block(x, side)
        return x
