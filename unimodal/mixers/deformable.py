"""Deformable attention: each query reads a few points of every level of a pyramid, at places that it says itself.

Source: Zhu et al. 2020, arXiv:2010.04159, sec. 4.1, eq. 3; released code: github.com/fundamentalvision/Deformable-DETR,
models/ops/modules/ms_deform_attn.py; narrower values: Chen et al. 2022, arXiv:2205.08534, in its released code, as in
github.com/Traffic-X/ViT-CoMer, detection/ops/modules/ms_deform_attn.py (ratio).
Axes: B rows, N queries, R prefix tokens, M values, D width, V width of all values, H heads, L levels, P points.
"""

import math

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.by_lattice import by_lattice
from unimodal.deformable_sampling import deformable_sampling
from unimodal.side import Side

__all__ = ["Deformable"]


class Deformable(nn.Module):
    """y_n = W_o concat_h sum_lp A[n, h, l, p] (W_v m)_l[h](r_n + o[n, h, l, p]).

    Places o = W x_n + b around the reference r_n and their weights A = softmax over l and p of W' x_n + b' come from
    the query alone; no query meets a key. Values are read bilinearly, and are 0 outside of their level
    (:func:`unimodal.deformable_sampling.deformable_sampling`).

    Queries are any tokens. With a memory, whose side has ``levels`` (or ``grid``, one level), references are
    ``side.positions``: points (x, y), or boxes (x of the middle, y, width, height), as shares of the picture. About a
    point, offsets count cells of each level; about a box, halves of it over P. Without positions the references are the
    middles of the queries' own cells, and that of a prefix token, off the lattice, is the picture's middle. Without a
    memory the values are the tokens on the lattices themselves.

    At first W = W' = 0, all weights are equal, and head h looks 1 .. P cells away in its own direction. Padded pictures
    have no place here, nor shares of theirs that are valid: pictures of different sizes are packed.

    Args:
        dim: Width D.
        heads: H.
        levels: L.
        points: P, of each level.
        value_ratio: V / D.

    Shapes:
        x: (B, N, D);  side.memory.x: (B, M, D);  side.positions: (B, N, 2) or (B, N, 4);  returns (B, N, D).

    Raises:
        ValueError: heads divide D or V not; a count is not positive; tokens or memory have no lattices of two axes, or
            not L; the memory has a prefix or a constraint of its own, or comes to a packed or padded batch; positions
            are neither points nor boxes; a mask, bias or causal order is set.

    Cost: O(B N D (D + H L P) + B M D V), linear in queries and values.
    """

    def __init__(self, dim: int, *, heads: int, levels: int = 1, points: int = 4, value_ratio: float = 1.0) -> None:
        super().__init__()
        if min(heads, levels, points) < 1:
            raise ValueError(f"heads, levels and points must be positive, not {heads}, {levels}, {points}")
        inner = int(dim * value_ratio)
        if dim % heads or inner < 1 or inner % heads:
            raise ValueError(f"heads {heads} must divide the width {dim} and that of the values, {inner}")
        self.heads, self.levels, self.points = heads, levels, points
        self.to_offset = nn.Linear(dim, heads * levels * points * 2)
        self.to_weight = nn.Linear(dim, heads * levels * points)
        self.to_value = nn.Linear(dim, inner)
        self.to_out = nn.Linear(inner, dim)
        for part in (self.to_offset, self.to_weight):
            nn.init.zeros_(part.weight)
        for part in (self.to_value, self.to_out):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)
        nn.init.zeros_(self.to_weight.bias)
        with torch.no_grad():
            self.to_offset.bias.copy_(_directions(heads, levels, points).flatten())

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        side.honour("memory", "lengths", "cu_seqlens")
        if side.memory is not None:
            side.honour("memory")
            levels = _levels(side.memory.side, "the memory")
            if side.memory.side.prefix:
                raise ValueError("the memory has prefix tokens, which are off its lattices")
            side.memory.side.honour()
            given = side.positions
            at = _middles(_levels(side, "the tokens"), side.prefix, x) if given is None else given
            return self._read(x, at, side.memory.x, levels)
        if side.levels is not None:
            side.honour()
            return self._read(x, _middles(side.levels, side.prefix, x), x[:, side.prefix :], side.levels)

        def of_group(grid: tuple[int, ...], x_SND: Tensor) -> Tensor:
            levels = _levels(Side(grid=grid), "the tokens")
            return self._read(x_SND, _middles(levels, side.prefix, x), x_SND[:, side.prefix :], levels)

        return by_lattice(of_group, side, x)

    def _read(self, x: Tensor, at: Tensor, memory: Tensor, levels: tuple[tuple[int, int], ...]) -> Tensor:
        if len(levels) != self.levels:
            raise ValueError(f"there are {len(levels)} levels, and {self.levels} are read here")
        if at.shape[-1] not in (2, 4):
            raise ValueError(f"positions are points (x, y) or boxes of four numbers, not of {at.shape[-1]}")
        counts = (self.heads, self.levels, self.points)
        dtype = torch.promote_types(x.dtype, torch.float32)
        offset = self.to_offset(x).to(dtype).unflatten(-1, (*counts, 2))
        weight = self.to_weight(x).unflatten(-1, (self.heads, -1)).softmax(-1, dtype=dtype).unflatten(-1, counts[1:])
        at = at.to(dtype)[:, :, None, None, None]
        if at.shape[-1] == 2:
            cells_L12 = torch.tensor([(n, m) for m, n in levels], dtype=dtype, device=x.device)[:, None]
            place = at + offset / cells_L12
        else:
            place = at[..., :2] + offset * (at[..., 2:] * (0.5 / self.points))
        value_BMHK = self.to_value(memory).unflatten(-1, (self.heads, -1))
        return self.to_out(deformable_sampling(value_BMHK, levels, place, weight).flatten(2))


def _directions(heads: int, levels: int, points: int) -> Tensor:
    """(H, L, P, 2): 1 .. P steps in the head's direction, each to the border of a square."""
    angle_H = torch.arange(heads, dtype=torch.float32) * (2 * math.pi / heads)
    way_H2 = torch.stack([angle_H.cos(), angle_H.sin()], -1)
    way_H112 = (way_H2 / way_H2.abs().amax(-1, keepdim=True))[:, None, None]
    return (way_H112 * torch.arange(1, points + 1)[:, None]).expand(heads, levels, points, 2)


def _levels(side: Side, whose: str) -> tuple[tuple[int, int], ...]:
    levels = side.levels if side.grid is None else (side.grid,)
    if levels is None or any(len(level) != 2 for level in levels):
        raise ValueError(f"{whose} must have levels or a lattice of two axes in its side, not {levels}")
    return levels  # pyright: ignore[reportReturnType]


def _middles(levels: tuple[tuple[int, int], ...], prefix: int, like: Tensor) -> Tensor:
    """(1, R + N, 2): the middle of the picture for a prefix token, then that of each cell."""
    dtype = torch.promote_types(like.dtype, torch.float32)
    found = [torch.full((prefix, 2), 0.5, dtype=dtype, device=like.device)]
    for level in levels:
        y, x = ((torch.arange(n, dtype=dtype, device=like.device) + 0.5) / n for n in level)
        found.append(torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1).flatten(0, 1))
    return torch.cat(found)[None]
