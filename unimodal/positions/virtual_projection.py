"""Virtual projection: points in space borrow the frozen positions of a model of texts or pictures.

Source: Tang et al. 2024, arXiv:2404.07989 (3D-to-any virtual projection); released code:
github.com/Ivan-Tang-3D/Any2Point, models/backbone/pointvit.py and models/peft_module/mv_utils.py of Any2Point_CLIP_Lang
(lines) and Any2Point_DINOV2_Vision (pictures).
Axes: B batch, N tokens, D width, M views, P axes of the table, L rows of the table, C corners around a place.
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.points_of import points_of
from unimodal.side import Side
from unimodal.tokens import Tokens
from unimodal.virtual_views import MOST, turned, virtual_views

__all__ = ["VirtualProjection"]

PATCH_PX, DISTANCE = 14, 1.8  # of the released code for pictures


class VirtualProjection(nn.Module):
    """x + mean_m table(c_m), c_m the token's place in view m of the whole cloud; prefix tokens get nothing.

    A place between rows of the table gets both neighbours in proportion (four in a picture, as a bilinear
    ``grid_sample`` with ``align_corners``), so a whole number gets exactly that row. The first row is at 0 of a view,
    the last at 1; see :func:`unimodal.virtual_views.virtual_views` for the views. The table is a buffer: it is filled
    from the source model and nothing trains it.

    With ``reference_quirks`` places are those of the released code. On a line they are moved by half a row and wrap
    round, so that the nearest point meets the farthest; c is divided by the extent of all views of the whole batch,
    without subtracting its beginning, so clouds of one batch depend on one another; and a whole number gets *no* row, a
    vector of zeros, as the weights are ceil(c) - c and c - floor(c). In a picture, views are taken in perspective from
    a distance of 1.8 (units of the positions), moved by half a pixel, wrap round, and count pixels of patches of 14;
    and the numbers of a cloud, laid out as (D, N), are read as (N, D), which scatters them over tokens and channels.

    Args:
        dim: Width D.
        grid: Lattice of the table: (tokens,) of texts or (rows, columns) of pictures.
        views: M, at most 6.
        reference_quirks: See above; for comparison only.

    Shapes:
        x: (B, N, D) with side.positions (B, N, 3 at most) or a lattice;  returns (B, N, D).

    Raises:
        ValueError: ``grid`` has more than two axes or an empty one, ``views`` is not 1 to 6, or what
            :func:`unimodal.points_of.points_of` refuses.
    """

    applies_to = "tokens"
    table: Tensor

    def __init__(self, dim: int, *, grid: tuple[int, ...], views: int = MOST, reference_quirks: bool = False) -> None:
        super().__init__()
        if len(grid) not in (1, 2) or min(grid) < 1:
            raise ValueError(f"grid must have one axis (texts) or two (pictures) with cells, not {grid}")
        if not 1 <= views <= MOST:
            raise ValueError(f"views must be 1 to {MOST}, not {views}")
        self.grid, self.views, self.reference_quirks = tuple(grid), views, reference_quirks
        self.register_buffer("table", nn.init.trunc_normal_(torch.empty(math.prod(self.grid), dim), std=0.02))

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        rows = Tokens(x, side).padded()
        points_BN3, real_BN = points_of(rows)
        p_BND = self._interpolated(self._on_table(self.places(points_BN3, real_BN), real_BN))
        p_BND = F.pad(p_BND.masked_fill(~real_BN[..., None], 0.0), (0, 0, side.prefix, 0))
        y = rows.replace(rows.x + p_BND.to(x.dtype))
        return y.x if side.cu_seqlens is None else y.packed().x

    def places(self, points: Tensor, real: Tensor) -> Tensor:
        """Each point's place from 0 to 1 along the table's axes, in each view: (B, N, 3) to (B, M, N, P)."""
        if not self.reference_quirks:
            return virtual_views(points, real, axes=len(self.grid), views=self.views)
        if len(self.grid) == 1:
            return (virtual_views(points, real, axes=1, views=self.views) - 0.5 / self.grid[0]) % 1.0
        across, down, ahead = turned(points, self.views).unbind(-1)
        place_BMNP = (torch.stack([down, across], -1) / (ahead + DISTANCE)[..., None] + 1) / 2
        return (place_BMNP - 0.5 / (PATCH_PX * points.new_tensor(self.grid))) % 1.0

    def cells(self, points: Tensor, real: Tensor, *, size: float) -> Tensor:
        """The number of each point's cell in each view, cells being ``size`` rows of the table wide: (B, M, N)."""
        place_BMNP, number = self.places(points, real), torch.zeros((), dtype=torch.int64, device=points.device)
        for place_BMN, n in zip(place_BMNP.unbind(-1), self.grid, strict=True):
            count = int(-(-n // size))
            number = number * count + (place_BMN * (n / size)).long().clamp(0, count - 1)
        return number

    def _on_table(self, place_BMNP: Tensor, real_BN: Tensor) -> Tensor:
        """Coordinates c in rows of the table."""
        size_P = torch.tensor(self.grid, dtype=place_BMNP.dtype, device=place_BMNP.device)
        if not self.reference_quirks:
            return place_BMNP * (size_P - 1)
        if len(self.grid) == 2:
            return place_BMNP * (PATCH_PX * size_P) / (PATCH_PX * size_P - 1) * (size_P - 1)
        absent = ~real_BN[:, None, :, None]
        extent = place_BMNP.masked_fill(absent, 0.0).amax() - place_BMNP.masked_fill(absent, 1.0).amin()
        return place_BMNP * (size_P - 1) / extent

    def _interpolated(self, c_BMNP: Tensor) -> Tensor:
        """The mean over views of the table between its rows, (B, N, D)."""
        index = torch.zeros((*c_BMNP.shape[:-1], 1), dtype=torch.int64, device=c_BMNP.device)
        weight = torch.full_like(index, 1, dtype=c_BMNP.dtype) / self.views
        for c_BMN, n in zip(c_BMNP.unbind(-1), self.grid, strict=True):
            low, high = c_BMN.floor(), c_BMN.floor() + 1
            if self.reference_quirks and len(self.grid) == 1:
                low, high = low.clamp(max=n - 1), c_BMN.ceil().clamp(max=n - 1)
            of_low, of_high = high - c_BMN, c_BMN - low
            if self.reference_quirks and len(self.grid) == 2:
                of_high = of_high.masked_fill(high > n - 1, 0.0)  # outside of the picture
            ends_BMN2 = torch.stack([low, high], -1).long().clamp(0, n - 1)
            index = (index[..., None] * n + ends_BMN2[..., None, :]).flatten(-2)
            weight = (weight[..., None] * torch.stack([of_low, of_high], -1)[..., None, :]).flatten(-2)
        table_LD = self.table.to(torch.promote_types(self.table.dtype, torch.float32))
        index_BNK, weight_BNK = (t.transpose(1, 2).flatten(2) for t in (index, weight))  # K = M C
        bags = F.embedding_bag(
            index_BNK.flatten(0, 1),
            table_LD,
            mode="sum",
            per_sample_weights=weight_BNK.flatten(0, 1).to(table_LD.dtype),
        )
        p_BND = bags.unflatten(0, index_BNK.shape[:2])
        return p_BND.mT.reshape(p_BND.shape) if self.reference_quirks and len(self.grid) == 2 else p_BND
