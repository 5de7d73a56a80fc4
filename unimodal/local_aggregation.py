"""Local aggregation: each token hears from those near it in views of space, as far as space itself agrees.

Source: Tang et al. 2024, arXiv:2404.07989 (any-to-3D guided adapter); released code:
github.com/Ivan-Tang-3D/Any2Point, Any2Point_CLIP_Lang, models/layers/attention.py.
Axes: B rows, N tokens, D width, M views.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.norms.batch import BatchNorm
from unimodal.same_cell import SameCell

__all__ = ["LocalAggregation"]


class LocalAggregation(nn.Module):
    """y = x + share * sum_m w_m b_m, of branches a token's cells give:

        in space    g = gelu(bn(max x + mean x))                    over the cell's tokens
        in view m   b_m = gelu(bn_m(mean(x + attend_m(x))))         attention sees the cell's tokens only
        weights     w_m = (cos(b_m, g) + 1) / 2, over their sum     of each token: positive, their sum is 1

    A cell counts once in the statistics of a norm, however many tokens it has. (So it does in the released code in
    space; in views its statistics include cells without tokens, as zeros.)

    Args:
        dim: Width D.
        views: M.
        share: Factor on what is added; 0 leaves the tokens as they are.

    Shapes:
        x: (B, N, D), padding too;  returns (B, N, D).

    Raises:
        ValueError: ``views`` is not positive.
    """

    def __init__(self, dim: int, *, views: int, share: float = 0.3) -> None:
        super().__init__()
        if views < 1:
            raise ValueError(f"views must be positive, not {views}")
        self.share = share
        self.norm_space = BatchNorm(dim)
        self.norm_views = nn.ModuleList(BatchNorm(dim) for _ in range(views))

    def forward(
        self,
        x: Tensor,
        space: SameCell,
        views: Sequence[SameCell],
        attend: Sequence[Callable[[Tensor, Tensor], Tensor]],
    ) -> Tensor:
        """``attend[m](x, mask)`` is the attention of view m."""
        guide = _of_cells(self.norm_space, space.largest(x) + space.mean(x), space)
        branches = [
            _of_cells(norm, cells.mean(x + attention(x, cells.mask)), cells)
            for norm, cells, attention in zip(self.norm_views, views, attend, strict=True)
        ]
        b_MBND = torch.stack(branches)
        return x + self.share * (self.weights(b_MBND, guide)[..., None] * b_MBND).sum(0)

    @staticmethod
    def weights(branches: Tensor, guide: Tensor) -> Tensor:
        """The share of each view in what a token gets, (M, B, N)."""
        likeness_MBN = (F.cosine_similarity(branches, guide[None], dim=-1) + 1) / 2
        return likeness_MBN / likeness_MBN.sum(0).clamp(min=torch.finfo(likeness_MBN.dtype).tiny)


def _of_cells(norm: nn.Module, pooled_BND: Tensor, cells: SameCell) -> Tensor:
    """gelu(norm(cell)) at each token; while training, statistics are over cells."""
    if norm.training:
        return cells.of_first(F.gelu(norm(pooled_BND[cells.heads])))
    return F.gelu(norm(pooled_BND))
