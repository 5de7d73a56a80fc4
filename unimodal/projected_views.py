"""Projected views: tokens that lie in space, seen from three sides, as one map in front of a core for pictures.

Source: Ding et al. 2024, arXiv:2311.15599 (point clouds as projections); Wang et al. 2022, arXiv:2208.02812, sec. 3.2
(features of points gathered in the pixels that they are projected to), where the views are rendered at given angles.
Axes: B rows, N tokens, D width, V three views, S side of a view, P positions.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.masks import keys_within
from unimodal.part import Part
from unimodal.side import Side
from unimodal.tokens import Tokens

__all__ = ["ProjectedViews"]

AXES = ((0, 1), (1, 2), (2, 0))  # which coordinate is a view's row and which its column


class ProjectedViews(nn.Module):
    """core(map), map[v, r, c] = mean of x_n over the tokens whose row and column in view v are r and c, else 0.

    Views lie side by side on a lattice (S, 3 S). View v sees the coordinates v and v + 1 (of 0, 1, 2 in a circle), from
    the third one's side; a coordinate p in [-1, 1] is in cell floor(S (p + 1) / 2), one outside in the nearest. Which
    of two tokens is in front is not asked: their mean is taken. A token's depth is in the two other views, or in x if a
    position part put it there. Means are taken in float32 or finer. Prefix tokens have no place and are left out.

    Args:
        dim: Width D.
        core: A core of width D that reads lattices, e.g. a pyramid.
        size: S in cells.

    Shapes:
        tokens: x (B, N, D) with side.positions (B, N, 3);  returns what the core makes of (B, 3 S S, D), a uniform
            batch whatever the layout was.

    Raises:
        ValueError: ``size`` is not positive; the tokens have no positions of three coordinates; a mask, bias, memory or
            causal order is set.
    """

    def __init__(self, dim: int, *, core: Part, size: int = 32) -> None:
        super().__init__()
        if size < 1:
            raise ValueError(f"size must be positive, not {size}")
        self.size, self.core = size, core(dim)
        self.width = getattr(self.core, "width", dim)

    def forward(self, tokens: Tokens) -> Tokens:
        return self.core(self.views(tokens))

    def views(self, tokens: Tokens) -> Tokens:
        """The tokens that enter the core."""
        tokens.side.honour("lengths", "cu_seqlens")
        places = tokens.side.positions
        if places is None or places.shape[-1] != 3:
            has = "none" if places is None else f"{places.shape[-1]} coordinates"
            raise ValueError(f"side.positions must have three coordinates, and the tokens have {has}")
        tokens = tokens.lattice().padded()
        x, side, count = tokens.x, tokens.side, 3 * self.size**2
        at_BVN = self._cells(torch.as_tensor(side.positions))
        shown_BND = x.to(torch.promote_types(x.dtype, torch.float32))
        one_BN1 = torch.ones_like(shown_BND[..., :1])
        if side.lengths is not None:
            real_BN1 = keys_within(side.lengths, x.shape[1])[:, 0, 0, :, None]
            shown_BND, one_BN1 = shown_BND.masked_fill(~real_BN1, 0.0), one_BN1 * real_BN1
        flat_M = (at_BVN + count * torch.arange(len(x), device=x.device)[:, None, None]).flatten()
        total, number = (
            values.new_zeros(len(x) * count, values.shape[-1]).index_add(0, flat_M, _thrice(values))
            for values in (shown_BND, one_BN1)
        )
        map_BND = (total / number.clamp_min(1.0)).unflatten(0, (len(x), count)).to(x.dtype)
        return Tokens(map_BND, Side(grid=(self.size, 3 * self.size), modality=_name(side)))

    def _cells(self, places_BNP: Tensor) -> Tensor:
        """Index of each token in the map, in each view."""
        cell_BNP = ((places_BNP.double() + 1) * (self.size / 2)).floor().long().clamp(0, self.size - 1)
        at = [cell_BNP[..., r] * 3 * self.size + v * self.size + cell_BNP[..., c] for v, (r, c) in enumerate(AXES)]
        return torch.stack(at, 1)


def _thrice(values_BND: Tensor) -> Tensor:
    return values_BND[:, None].expand(-1, 3, -1, -1).flatten(0, 2)


def _name(side: Side) -> str | None:
    return side.modality if isinstance(side.modality, str) else None
