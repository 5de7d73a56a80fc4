"""Pixel decoder: the levels of a pyramid made to see one another, and fine cells that know what the coarse ones do.

Source: Cheng et al. 2021, arXiv:2112.01527, sec. 3.2.2 and 4.1 (multi-scale deformable attention over the last three
levels), as in the released code, github.com/facebookresearch/Mask2Former, modeling/pixel_decoder/msdeformattn.py;
top-down sums: Lin et al. 2016, arXiv:1612.03144, sec. 3.
Axes: B pictures, N tokens of all levels, M cells of the finest level, D width, E width of mask features, L levels.
"""

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn as nn
import torch.nn.functional as F

from unimodal.chain import Chain
from unimodal.ffns.activated import Activated
from unimodal.ffns.linear import Linear
from unimodal.lattice import as_map
from unimodal.level_waves import level_waves
from unimodal.mixers.convolution import Convolution
from unimodal.norms.group import GroupNorm
from unimodal.part import Part
from unimodal.side import Side
from unimodal.tokens import Tokens
from unimodal.transformer import Transformer

__all__ = ["PixelDecoder"]


class PixelDecoder(nn.Module):
    """Coarse levels through blocks as one sequence, then down to the finest level, one finer level at a time.

        x_l = norm(W_l f_l), the L coarsest levels, the coarsest first;  x = blocks(x_1 .. x_L; waves + e_l)
        z = act(norm(conv(norm(V f) + up(z)))) for each finer level, z = x_L at first;  fine = W z

    Blocks get the positions of the cells, waves of their places plus a learned vector a level, in ``side.positions``,
    as :class:`~unimodal.mixers.located_queries.LocatedQueries` reads them.

    Args:
        widths: Widths of the features that come in, the finest first.
        block: A block of the sequence of levels (``side.levels``).
        depth: Blocks.
        levels: L.
        width: D.
        fine_width: E, or None for D.
        groups: Groups of channels in the norms of maps.

    Shapes:
        features: x (B, M_l, widths[l]), the finest first, each on a lattice of two axes;  returns the finest level's
            mask features, x (B, M, E), and the L levels behind the blocks, x (B, M_l, D), the coarsest first.

    Raises:
        ValueError: there are no levels, or more than features; other features come than were said; they have a prefix
            or a constraint, or no lattice of two axes; groups do not divide D; D is not a multiple of 4.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        *,
        block: Part,
        depth: int = 6,
        levels: int = 3,
        width: int = 256,
        fine_width: int | None = None,
        groups: int = 32,
    ) -> None:
        super().__init__()
        if not 1 <= levels <= len(widths):
            raise ValueError(f"levels must be among 1..{len(widths)}, not {levels}")
        coarse, finer = widths[-levels:][::-1], widths[:-levels][::-1]
        self.widths, self.width, self.fine_width = tuple(widths), width, fine_width or width
        norm = Part(GroupNorm, groups=groups)
        self.project = nn.ModuleList(Chain(w, parts=(Part(Linear, width=width), norm)) for w in coarse)
        self.level = nn.Parameter(torch.randn(levels, width))
        self.core = Transformer(width, depth=depth, blocks=block)
        lateral = (Part(Linear, width=width, bias=False), norm)
        smooth = (Part(Convolution, bias=False), norm, Part(Activated, activation="relu"))
        self.lateral = nn.ModuleList(Chain(w, parts=lateral) for w in finer)
        self.smooth = nn.ModuleList(Chain(width, parts=smooth) for _ in finer)
        self.to_fine = nn.Linear(width, self.fine_width)

    def forward(self, features: Sequence[Tokens]) -> tuple[Tokens, list[Tokens]]:
        grids = self._grids(features)[::-1]
        count = len(self.project)
        coarse, finer = features[::-1][:count], features[::-1][count:]
        x = torch.cat([part(f.x, f.side) for part, f in zip(self.project, coarse, strict=True)], 1)
        cells = [rows * columns for rows, columns in grids[:count]]
        waves = level_waves(grids[:count], self.width, device=x.device).to(x.dtype)
        at = (waves + self.level.repeat_interleave(torch.tensor(cells, device=x.device), 0, output_size=len(waves)))[
            None
        ]
        x = self.core(Tokens(x, Side(levels=grids[:count], positions=at))).x
        levels = [Tokens(x, Side(grid=grid)) for x, grid in zip(x.split(cells, 1), grids, strict=False)]
        z, side = levels[-1].x, levels[-1].side
        for lateral, smooth, f, coarser, grid in zip(
            self.lateral, self.smooth, finer, grids[count - 1 :], grids[count:], strict=False
        ):
            side = Side(grid=grid)
            up_BMD = F.interpolate(as_map(z, coarser), size=grid, mode="bilinear").flatten(2).mT
            z = smooth(lateral(f.x, side) + up_BMD, side)
        return Tokens(self.to_fine(z), side), levels

    def _grids(self, features: Sequence[Tokens]) -> tuple[tuple[int, int], ...]:
        given = tuple(f.x.shape[-1] for f in features)
        if given != self.widths:
            raise ValueError(f"features of widths {self.widths} are read here, not of {given}")
        for f in features:
            f.side.honour()
            if f.side.prefix or f.side.grid is None or len(f.side.grid) != 2:
                raise ValueError(
                    f"features need a lattice of two axes and no prefix, not {f.side.grid}, {f.side.prefix}"
                )
        return cast(tuple[tuple[int, int], ...], tuple(f.side.grid for f in features))
