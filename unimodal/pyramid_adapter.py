"""Pyramid adapter: a plain transformer and a convolutional pyramid beside it that tell each other what they see.

Source: Xia et al. 2024, arXiv:2403.07392; released code: github.com/Traffic-X/ViT-CoMer, detection and
segmentation, comer_modules.py and vit_comer.py, which is followed where the paper says something else.
Axes: B rows, N tokens of the transformer, R prefix tokens, M tokens of three levels, D width, S stages.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.into_pyramid import IntoPyramid
from unimodal.into_tokens import IntoTokens
from unimodal.lattice import as_map
from unimodal.norms.batch import BatchNorm
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.side import Side
from unimodal.tokens import Tokens
from unimodal.transformer import Transformer

__all__ = ["PyramidAdapter"]


class PyramidAdapter(nn.Module):
    """x = x + gamma into_tokens(c);  x = blocks_i(x);  c = into_pyramid(c, x), with c = spread_i(c) before: S times.

    The tokens' memory goes through ``branch``, whose last four features, projected to D, are c_1 (four cells a token
    along an axis), c_2 (two), c_3 (one) and c_4 (half of one); c is the last three end to end, each with a vector of
    its own. gamma is 0 at first, so the transformer's tokens are then exactly those it has alone. Behind the stages c
    goes through ``extra`` more exchanges with x. Level l of the result is norm_l(c_l + x at its lattice); c_1 is what
    the branch made of it plus c_2, twice as large.

    :meth:`features` is that pyramid, ``strides`` being fractions of a token's cell; the call itself is the core as it
    was, with its prefix tokens and its last norm. Tokens at a lattice's odd edge belong to a last cell of c_4, and what
    the branch has behind the last token is cut off; where its cells do not nest in the tokens' it is resized.

    Args:
        dim: Width D.
        core: A :class:`~unimodal.transformer.Transformer`.
        branch: A core of pyramids (:class:`~unimodal.pyramid.Pyramid`) with four features or more.
        width: Width of the memory's tokens.
        spread: Chain at the start of a stage, on three levels.
        mixer: Attention of the levels to one another, e.g. :class:`~unimodal.mixers.deformable.Deformable` of three.
        feed: What follows it, residual included.
        stages: S; the core's depth is a multiple of it.
        extra: See above.
        staged: Whether level l gets the x of stage l (in the released segmentation), or all get the last one's.
        norm: Norm in front of the mixer.

    Shapes:
        tokens: x (B, R + N, D) on a lattice of two axes with a memory;  returns Tokens with x (B, R + N, D).

    Raises:
        ValueError: the core is no Transformer, its depth no multiple of S; the branch has fewer than four features;
            ``staged`` without four stages; tokens without a memory or lattice; a mask, bias or causal order is set.

    Cost: O(M) beside the core's own.
    """

    def __init__(
        self,
        dim: int,
        *,
        core: Part,
        branch: Part,
        width: int,
        spread: Part,
        mixer: Part,
        feed: Part,
        stages: int = 4,
        extra: int = 4,
        staged: bool = False,
        norm: Part = Part(LayerNorm, eps=1e-6),
    ) -> None:
        super().__init__()
        made: Any = core(dim)
        if not isinstance(made, Transformer) or stages < 1 or made.depth % stages:
            raise ValueError(f"core must be a Transformer whose depth is a multiple of {stages} stages, not {core}")
        if staged and stages != 4:
            raise ValueError(f"one stage for each of four levels (staged) needs 4 stages, not {stages}")
        self.core, self.staged = made, staged
        self.branch: Any = branch(width)
        widths = self.branch.widths[1:]
        if len(widths) < 4:
            raise ValueError(f"the branch must have four features, not {len(widths)}")
        projections: list[Any] = [nn.Linear(each, dim) for each in widths[-4:]]
        self.to_levels = nn.ModuleList(projections)
        self.level = nn.Parameter(torch.randn(3, dim))
        self.spread = nn.ModuleList(spread(dim) for _ in range(stages))
        self.into_tokens = nn.ModuleList(IntoTokens(dim, mixer=mixer, feed=feed, norm=norm) for _ in range(stages))
        plain = Part(IntoPyramid, mixer=mixer, feed=feed, norm=norm)
        self.into_pyramid = nn.ModuleList(plain(dim) for _ in range(stages))
        self.extra = nn.ModuleList(plain(dim, ahead=feed) for _ in range(extra))
        self.enlarge = nn.ConvTranspose2d(dim, dim, 2, 2)
        self.norms = nn.ModuleList(BatchNorm(dim) for _ in range(4))
        self.width, self.widths, self.strides = dim, (dim,) * 5, (1, 0.25, 0.5, 1, 2)
        for part in (self.branch, self.spread, self.into_tokens, self.into_pyramid, self.extra, self.enlarge):
            part.apply(_initialised)
        nn.init.zeros_(self.enlarge.bias)  # pyright: ignore[reportArgumentType]
        for project in projections:
            nn.init.normal_(project.weight, std=math.sqrt(2 / dim))
            nn.init.zeros_(project.bias)

    @property
    def depth(self) -> int:
        """Block applications of the core."""
        return self.core.depth

    def forward(self, tokens: Tokens) -> Tokens:
        return self.both(tokens)[0]

    def features(self, tokens: Tokens, depths: Sequence[int]) -> list[Tokens]:
        """The levels 1 .. 4 of the pyramid that ``depths`` names, finest first; 0 is what came in, memory aside."""
        if list(depths) != sorted(depths) or any(not 0 <= d <= 4 for d in depths):
            raise ValueError(f"depths must ascend within 0..4, not {list(depths)}")
        levels = self.both(tokens)[1] if any(depths) else []
        return [levels[d - 1] if d else tokens.replace(memory=None) for d in depths]

    def both(self, tokens: Tokens) -> tuple[Tokens, list[Tokens]]:
        """The core's tokens, and the four levels of the pyramid."""
        side = tokens.side.honour("memory", "lengths", "cu_seqlens")
        if side.memory is None:
            raise ValueError("the tokens need a memory here: what the branch beside the core reads")
        if side.cu_seqlens is None and side.lengths is None and side.grids is None:
            return self._of_one_size(tokens)
        return self._of_each_size(tokens)

    def _of_one_size(self, tokens: Tokens) -> tuple[Tokens, list[Tokens]]:
        side = tokens.side.replace(memory=None)
        if side.grid is None or len(side.grid) != 2:
            raise ValueError(f"the tokens need a lattice of two axes (grid), not {side.grid}")
        rows, columns = side.grid
        grids = [(4 * rows, 4 * columns), (2 * rows, 2 * columns), side.grid, (-(-rows // 2), -(-columns // 2))]
        last, at = len(self.branch.widths) - 1, Side(levels=tuple(grids[1:]))
        seen = self.branch.features(tokens.side.memory, range(last - 3, last + 1))
        first, *rest = (
            project(_cells(_fitted(as_map(own.x, own.side.grid), grid)))
            for project, own, grid in zip(self.to_levels, seen, grids, strict=True)
        )
        c = torch.cat([own + level for own, level in zip(rest, self.level, strict=True)], 1)
        x, met = tokens.x, []
        for i, spread in enumerate(self.spread):
            c = _met(spread(c, at), x, side, at)
            x = self._grown(x, self.into_tokens[i](c, at, side.grid), side)
            for block in range(i * self.depth // len(self.spread), (i + 1) * self.depth // len(self.spread)):
                x = self.core.blocks[block // self.core.shared](x, side)
            c = self.into_pyramid[i](_met(c, x, side, at), at)
            met.append(as_map(x[:, side.prefix :], side.grid))
        for exchange in self.extra:
            c = exchange(_met(c, x, side, at), at)
        levels = [first, *c.split([math.prod(grid) for grid in grids[1:]], 1)]
        levels[0] = first + _cells(self.enlarge(as_map(levels[1], grids[1])))
        met = met if self.staged else met[-1:] * 4
        made = [
            Tokens(norm(own + _cells(_resized(seen, grid))), Side(grid=grid))
            for norm, own, seen, grid in zip(self.norms, levels, met, grids, strict=True)
        ]
        return Tokens(x if self.core.norm is None else self.core.norm(x, side), side), made

    def _of_each_size(self, tokens: Tokens) -> tuple[Tokens, list[Tokens]]:
        """Sequences of one lattice go through together; the result has the layout that came in."""
        side, memory = tokens.side, tokens.side.memory
        assert memory is not None
        rows, beside = Tokens(tokens.x, side.replace(memory=None)).split(), memory.split()
        grids = list(zip(side.lattices(len(rows)), memory.side.lattices(len(rows)), strict=True))
        found: list[Any] = [None] * len(rows)
        for of, of_memory in dict.fromkeys(grids):
            own = [i for i, pair in enumerate(grids) if pair == (of, of_memory)]
            seen = Tokens(torch.stack([beside[i] for i in own]), Side(grid=of_memory))
            x, levels = self._of_one_size(
                Tokens(torch.stack([rows[i] for i in own]), Side(grid=of, prefix=side.prefix, memory=seen))
            )
            for j, i in enumerate(own):
                found[i] = [(level.x[j], level.side.grid) for level in (x, *levels)]
        made = []
        for each in zip(*found, strict=True):
            ends = torch.tensor([0, *(len(x) for x, _ in each)], device=tokens.x.device).cumsum(0).to(torch.int32)
            packed = Tokens(
                torch.cat([x for x, _ in each])[None], Side(grids=tuple(g for _, g in each), cu_seqlens=ends)
            )
            made.append(packed if side.cu_seqlens is not None else packed.padded())
        return made[0].replace(prefix=side.prefix), made[1:]

    @staticmethod
    def _grown(x: Tensor, more: Tensor, side: Side) -> Tensor:
        return torch.cat([x[:, : side.prefix], x[:, side.prefix :] + more], 1) if side.prefix else x + more


def _met(c: Tensor, x: Tensor, side: Side, at: Side) -> Tensor:
    """The levels with the transformer's tokens added to the one of their own lattice."""
    fine, same, coarse = c.split([math.prod(level) for level in at.levels or ()], 1)
    return torch.cat([fine, same + x[:, side.prefix :], coarse], 1)


def _fitted(map_BD: Tensor, grid: tuple[int, ...]) -> Tensor:
    """A map without the cells behind ``grid``, or resized to it if it is another cut of the picture."""
    if all(0 <= have - n < 4 for have, n in zip(map_BD.shape[2:], grid, strict=True)):
        return map_BD[..., : grid[0], : grid[1]]
    return _resized(map_BD, grid)


def _resized(map_BD: Tensor, grid: tuple[int, ...]) -> Tensor:
    if tuple(map_BD.shape[2:]) == tuple(grid):
        return map_BD
    return F.interpolate(map_BD, size=grid, mode="bilinear", align_corners=False)


def _cells(map_BD: Tensor) -> Tensor:
    return map_BD.flatten(2).mT


def _initialised(module: nn.Module) -> None:
    """Convolutions by their outputs, as in the released code; the rest as it is."""
    for weight in module.parameters(recurse=False):
        if weight.ndim == 4:
            outputs = weight[0, 0].numel() * (1 if weight.shape[1] == 1 else weight.shape[0])
            nn.init.normal_(weight, std=math.sqrt(2 / outputs))
