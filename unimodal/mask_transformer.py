"""Mask transformer: queries that read the levels of a picture in turn, each becoming a class and a mask.

Source: Cheng et al. 2021, arXiv:2112.01527, sec. 3.2, as in the released code, github.com/facebookresearch/Mask2Former,
modeling/transformer_decoder/mask2former_transformer_decoder.py.
Axes: B pictures, N queries, D width, E width of mask features, C width of the levels, M cells of a level, K classes.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.foreground import Foreground
from unimodal.level_waves import level_waves
from unimodal.mask_prediction import MaskPrediction
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.side import Side
from unimodal.tokens import Tokens

__all__ = ["MaskTransformer"]


class MaskTransformer(nn.Module):
    """x_0 = queries;  x_i = block_i(x_(i-1), level_(i mod L), focus(masks_(i-1)));  h = norm(x_i)

        classes_i = W h;   masks_i = mlp(h) . fine

    A prediction stands before the first block and behind each one. Block i gets its level as ``side.memory``, whose
    positions are waves of the cells' places, the queries' own positions as ``side.positions``, and where to look as
    ``side.mask``. So another way from pixels to queries is another block, other ways to look are another ``focus``, and
    queries that know of a task are other ``queries``; none of them is another decoder.

    Args:
        width_in: Width C of the levels.
        fine_width: Width E of the mask features.
        classes: K.
        queries: Makes the queries x_0 and their positions from the mask features and a task.
        block: A block, or several that are cycled over depth.
        depth: Blocks.
        width: D, or None for C.
        levels: L.
        projected: Whether levels pass a linear map to D; None means where C is not D.
        focus: Which cells each query may read, given the last masks.
        norm: Norm in front of the predictions.

    Shapes:
        fine: x (B, Y X, E);  levels: x (B, M_l, C), the coarsest first;  task: what ``queries`` reads, or None;
            returns depth + 1 predictions, the last one the best.

    Raises:
        ValueError: classes, depth or levels are not positive; levels of C != D are not projected; other levels come
            than were said; fine or levels have no lattice of two axes; D is not a multiple of 4.
    """

    def __init__(
        self,
        width_in: int,
        fine_width: int,
        *,
        classes: int,
        queries: Part,
        block: Part | tuple[Part, ...],
        depth: int = 9,
        width: int | None = None,
        levels: int = 3,
        projected: bool | None = None,
        focus: Part = Part(Foreground),
        norm: Part = Part(LayerNorm, eps=1e-5),
    ) -> None:
        super().__init__()
        width = width_in if width is None else width
        if min(classes, depth, levels) < 1:
            raise ValueError(f"classes, depth and levels must be positive, not {classes}, {depth}, {levels}")
        projected = width != width_in if projected is None else projected
        if width != width_in and not projected:
            raise ValueError(f"levels of width {width_in} must be projected to the queries' {width}")
        self.width = width
        self.queries = queries(width)
        self.project = nn.ModuleList(nn.Linear(width_in, width) if projected else nn.Identity() for _ in range(levels))
        self.level = nn.Parameter(torch.randn(levels, width))
        blocks = (block,) if isinstance(block, Part) else block
        self.blocks = nn.ModuleList(blocks[i % len(blocks)](width) for i in range(depth))
        self.focus = focus()
        self.norm = norm(width)
        self.to_classes = nn.Linear(width, classes + 1)
        sizes = (width, width, fine_width)
        self.to_masks = nn.ModuleList(nn.Linear(a, b) for a, b in zip((width, *sizes), sizes, strict=False))

    def forward(self, fine: Tokens, levels: Sequence[Tokens], task: Tensor | None = None) -> list[MaskPrediction]:
        if len(levels) != len(self.project):
            raise ValueError(f"there are {len(levels)} levels, and {len(self.project)} are read here")
        memories = [self._memory(i, level) for i, level in enumerate(levels)]
        queries, grid = self.queries(fine, task), _grid(fine)
        x, at = queries.x, queries.side.positions
        made = [self._predicted(x, fine.x, grid)]
        for i, block in enumerate(self.blocks):
            memory = memories[i % len(memories)]
            seen = self.focus(made[-1].masks, memory.side.grid)
            x = block(x, Side(positions=at, memory=memory, mask=seen))
            made.append(self._predicted(x, fine.x, grid))
        return made

    def _memory(self, i: int, level: Tokens) -> Tokens:
        grid = _grid(level)
        waves = level_waves((grid,), self.width, device=level.x.device).to(level.x.dtype)
        return Tokens(self.project[i](level.x) + self.level[i], Side(grid=grid, positions=waves[None]))

    def _predicted(self, x: Tensor, fine_BME: Tensor, grid: tuple[int, int]) -> MaskPrediction:
        h: Any = self.norm(x)
        classes, (*hidden, last) = self.to_classes(h), self.to_masks
        for layer in hidden:
            h = layer(h).relu()
        return MaskPrediction(classes, (last(h) @ fine_BME.mT).unflatten(-1, grid))


def _grid(tokens: Tokens) -> tuple[int, int]:
    side = tokens.side.honour()
    if side.prefix or side.grid is None or len(side.grid) != 2:
        raise ValueError(f"a lattice of two axes without a prefix is needed here, not {side.grid}, {side.prefix}")
    return side.grid  # pyright: ignore[reportReturnType]
