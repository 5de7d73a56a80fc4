"""Sliced groups: attention within groups of a sequence's tokens, which are runs of it or a random share.

Source: Shen et al. 2021, arXiv:2111.05297 (sliced group self-attention); github.com/szq0214/SReT, Group_Attention.
Axes: B rows, N tokens, G groups, D width.
"""

import torch.nn as nn
from torch import Tensor

from unimodal.attention.softmax import SoftmaxAttention
from unimodal.mixers.full import Full
from unimodal.part import Part
from unimodal.side import Side
from unimodal.token_slices import TokenSlices

__all__ = ["SlicedGroups"]


class SlicedGroups(nn.Module):
    """y = W_o join(attention(W_q x_g, W_k x_g, W_v x_g) for each group x_g of x).

    What one group sees another does not: tokens meet over depth, where layers with other groups or with a permutation
    follow one another. See :class:`~unimodal.token_slices.TokenSlices` for the groups, the permutation and the prefix.

    Args:
        dim: Width D.
        heads: Attention heads.
        groups: G; 1 is full attention.
        permuted: Whether tokens are put into a random order before they are cut; in eval a fixed one.
        seed: Of the order in eval.
        bias: Whether queries, keys and values have a bias.
        attention: The attention rule; a term in the distance of two tokens would count places within the group.

    Shapes:
        x: (B, N, D);  returns (B, N, D).

    Raises:
        ValueError: ``groups`` is not positive, a memory is set, heads do not divide, or what the rule refuses.

    Cost: O(B N N D / G) for the attention.
    """

    def __init__(
        self,
        dim: int,
        *,
        heads: int,
        groups: int = 4,
        permuted: bool = False,
        seed: int = 0,
        bias: bool = True,
        attention: Part = Part(SoftmaxAttention),
    ) -> None:
        super().__init__()
        self.slices = TokenSlices(groups=groups, permuted=permuted, seed=seed)
        self.full = Full(dim, heads=heads, bias=bias, attention=attention)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        rows, rows_side, cut = self.slices.split(x, side)
        return self.slices.join(self.full(rows, rows_side), cut)
