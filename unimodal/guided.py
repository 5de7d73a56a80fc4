"""Guided: a transformer of texts or pictures reads points, which behind each block hear from those near them.

Source: Tang et al. 2024, arXiv:2404.07989 (Any2Point); released code: github.com/Ivan-Tang-3D/Any2Point,
Any2Point_CLIP_Lang, models/backbone/pointvit.py.
Axes: B rows, N tokens, D width, M views, R prefix tokens.
"""

from collections.abc import Sequence

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.attention.softmax import SoftmaxAttention
from unimodal.local_aggregation import LocalAggregation
from unimodal.mixers.full import Full
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.points_of import points_of
from unimodal.positions.virtual_projection import VirtualProjection
from unimodal.repositioned import Repositioned
from unimodal.same_cell import SameCell
from unimodal.side import Side
from unimodal.tokens import Tokens

__all__ = ["Guided"]


class Guided(nn.Module):
    """x = aggregate_i(block_i(x + p)) for each block of ``core``, then the core's norm.

    p is what the virtual projection gives a token, again in front of every block
    (:class:`unimodal.repositioned.Repositioned`). Behind each block the tokens meet those of their own cells
    (:class:`unimodal.local_aggregation.LocalAggregation`): cubes of side ``voxel`` in space, counted from the smallest
    coordinates of the cloud, and cells of ``cell`` rows of the position table in each view. A view's attention is one
    module for all blocks; norms are each block's own. Prefix tokens take no part in it.

    Every block of ``core`` is called as it is, so it may be any. With ``share`` = 0 this is ``Repositioned``.

    Args:
        dim: Width D.
        core: A Transformer, whose blocks may have :class:`~unimodal.ffns.bottlenecked.Bottlenecked` feed-forwards.
        position: A :class:`~unimodal.positions.virtual_projection.VirtualProjection`.
        prefix: R, prefix tokens that have a position of their own (see ``Repositioned``).
        voxel: Side of a cube in space, in units of the positions.
        cell: Side of a view's cell, in rows of the position table.
        share: Factor on what the aggregation adds.
        heads: Of a view's attention.
        width: Of all heads together. Logits are divided by its root, not by that of a head's, as in the released code.

    Shapes:
        tokens.x: (B, N, D) with side.positions (B, N, 3 at most) or a lattice;  returns Tokens with x (B, N, D).

    Raises:
        ValueError: ``position`` is no virtual projection, a size is not positive, heads do not divide the width; causal
            order, a mask, bias or memory is set: tokens of a cell see one another.

    Cost: O(B M N^2 (heads + D)) a block beside the block's own.
    """

    def __init__(
        self,
        dim: int,
        *,
        core: Part,
        position: Part,
        prefix: int = 0,
        voxel: float = 0.08,
        cell: float = 2.0,
        share: float = 0.3,
        heads: int = 6,
        width: int = 12,
    ) -> None:
        super().__init__()
        if not (voxel > 0 and cell > 0):
            raise ValueError(f"sizes must be positive, not voxel={voxel}, cell={cell}")
        if heads < 1 or width % heads:
            raise ValueError(f"width {width} is not a multiple of heads {heads}")
        self.source = Repositioned(dim, core=core, position=position, prefix=prefix)
        if not isinstance(self.source.position, VirtualProjection):
            raise ValueError(f"position must be a VirtualProjection, not {type(self.source.position).__name__}")
        views = self.source.position.views
        self.voxel, self.cell = voxel, cell
        self.attend = nn.ModuleList(_InCell(dim, heads, width) for _ in range(views))
        self.aggregations = nn.ModuleList(
            LocalAggregation(dim, views=views, share=share) for _ in range(self.source.depth)
        )

    @property
    def depth(self) -> int:
        """Block applications of the core."""
        return self.source.depth

    def forward(self, tokens: Tokens) -> Tokens:
        return self.features(tokens, (self.depth,))[0]

    def features(self, tokens: Tokens, depths: Sequence[int]) -> list[Tokens]:
        """The tokens after each of ``depths`` blocks (0 = before the first), the last depth through the norm."""
        tokens.side.honour("lengths", "cu_seqlens")
        space, views = self.cells(tokens)

        def behind(x: Tensor, i: int) -> Tensor:
            rows = Tokens(x, tokens.side).padded()
            front_BRD, rest_BND = rows.x.tensor_split([rows.side.prefix], 1)
            heard = rows.replace(torch.cat([front_BRD, self.aggregations[i](rest_BND, space, views, self.attend)], 1))
            return heard.x if tokens.side.cu_seqlens is None else heard.packed().x

        return self.source.features(tokens, depths, behind)

    def cells(self, tokens: Tokens) -> tuple[SameCell, list[SameCell]]:
        """The cubes in space and the cells of each view that the tokens behind the prefix lie in."""
        points_BN3, real_BN = points_of(tokens.padded())
        start_B13 = points_BN3.masked_fill(~real_BN[..., None], torch.inf).amin(1, keepdim=True)
        cube_BN3 = ((points_BN3 - start_B13) / self.voxel).clamp(0, 2**20).long()
        space = SameCell((cube_BN3 * cube_BN3.new_tensor([2**42, 2**21, 1])).sum(-1), real_BN)
        projection: VirtualProjection = self.source.position  # pyright: ignore[reportAssignmentType]
        in_views_BMN = projection.cells(points_BN3, real_BN, size=self.cell)
        return space, [SameCell(cell_BN, real_BN) for cell_BN in in_views_BMN.unbind(1)]


class _InCell(nn.Module):
    """Attention that sees the tokens of one cell."""

    def __init__(self, dim: int, heads: int, width: int) -> None:
        super().__init__()
        self.norm = LayerNorm(dim, eps=1e-5)
        rule = Part(SoftmaxAttention, scale=width**-0.5)
        self.mixer = Full(dim, heads=heads, head_width=width // heads, attention=rule)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return self.mixer(self.norm(x), Side(mask=mask))
