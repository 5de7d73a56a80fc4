"""Shared query and key: multi-head attention in which one projection says what a token asks for and what it offers.

Source: Liu et al. 2022, arXiv:2209.09004, sec. 4 (EcoFormer, without a bias in github.com/ziplab/EcoFormer); Kitaev et
al. 2020, arXiv:2001.04451, sec. 2 (shared-QK transformer).
Axes: B batch, N tokens, D width, H heads, K head width.
"""

import torch.nn as nn
from torch import Tensor

from unimodal.attention.softmax import SoftmaxAttention
from unimodal.part import Part
from unimodal.side import Side

__all__ = ["SharedQueryKey"]


class SharedQueryKey(nn.Module):
    """y = W_o concat_h attention(W_s x, W_s x, W_v x): :class:`~unimodal.mixers.full.Full` with W_q = W_k = W_s.

    Two tokens weigh one another alike before a normaliser. One fused projection holds W_s and W_v, in this order.

    Args:
        dim: Width D.
        heads: H.
        attention: The attention rule.
        bias: Whether the projection has a bias.

    Shapes:
        x: (B, N, D);  returns (B, N, D).

    Raises:
        ValueError: heads do not divide dim; a memory is set (it has keys but no queries); or what the attention rule
            refuses.
    """

    def __init__(self, dim: int, *, heads: int, attention: Part = Part(SoftmaxAttention), bias: bool = True) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"dim {dim} is not a multiple of heads {heads}")
        self.heads = heads
        self.to_sv = nn.Linear(dim, 2 * dim, bias=bias)
        self.attention = attention()
        self.to_out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        side.honour("mask", "bias", "causal", "lengths", "cu_seqlens")
        s_BHNK, v_BHNK = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in self.to_sv(x).chunk(2, dim=-1))
        return self.to_out(self.attention(s_BHNK, s_BHNK, v_BHNK, side).transpose(1, 2).flatten(2))
