"""Located: attention in which positions say where to look, and are no part of what is read.

Source: Carion et al. 2020, arXiv:2005.12872, appendix A.4 (positions are added to queries and keys of every layer);
Cheng et al. 2021, arXiv:2112.01527, in its released code, github.com/facebookresearch/Mask2Former,
mask2former_transformer_decoder.py (CrossAttentionLayer, SelfAttentionLayer).
Axes: B rows, N tokens, M memory tokens, D width, H heads, K head width.
"""

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.attention.softmax import SoftmaxAttention
from unimodal.part import Part
from unimodal.side import Side
from unimodal.whole_matrix import whole_matrix

__all__ = ["Located"]


class Located(nn.Module):
    """y = W_o concat_h attention(W_q (x + p), W_k (m + p_m), W_v m), with m = x, or the memory's tokens.

    p and p_m are the ``positions`` of x and of the memory, D numbers a token here; who has none adds nothing, and
    without any it is :class:`~unimodal.mixers.full.Full`.

    Args:
        dim: Width D.
        heads: H.
        attention: The attention rule.

    Shapes:
        x: (B, N, D);  side.memory.x: (B, M, D);  side.positions: (B, N, D) or (1, N, D);  returns (B, N, D).

    Raises:
        ValueError: heads do not divide D; positions are not as wide as their tokens; memory comes with causal order, a
            packed layout or constraints of its own other than lengths; what the attention rule refuses.
    """

    def __init__(self, dim: int, *, heads: int, attention: Part = Part(SoftmaxAttention)) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"dim {dim} is not a multiple of heads {heads}")
        self.heads = heads
        self.to_qkv = nn.Linear(dim, 3 * dim)
        self.attention = attention()
        self.to_out = nn.Linear(dim, dim)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        q, k, v = self._project(x, side)
        q_BHNK, k_BHMK, v_BHMK = (y.unflatten(-1, (self.heads, -1)).transpose(1, 2) for y in (q, k, v))
        if side.memory is not None:
            side.honour("mask", "bias", "memory", "lengths")
            lengths = side.memory.side.honour("lengths").lengths
            side = side.replace(memory=None, lengths=lengths)
        return self.to_out(self.attention(q_BHNK, k_BHMK, v_BHMK, side).transpose(1, 2).flatten(2))

    def _project(self, x: Tensor, side: Side) -> tuple[Tensor, Tensor, Tensor]:
        dim = x.shape[-1]
        asking = _at(x, side)
        if side.memory is None:
            if side.positions is None:
                return self.to_qkv(x).chunk(3, -1)
            weight, bias = whole_matrix(self.to_qkv), self.to_qkv.bias
            q, k = F.linear(asking, weight[: 2 * dim], bias[: 2 * dim]).chunk(2, -1)
            return q, k, F.linear(x, weight[2 * dim :], bias[2 * dim :])
        read = side.memory
        (to_q, to_k, to_v), (b_q, b_k, b_v) = whole_matrix(self.to_qkv).chunk(3), self.to_qkv.bias.chunk(3)
        return F.linear(asking, to_q, b_q), F.linear(_at(read.x, read.side), to_k, b_k), F.linear(read.x, to_v, b_v)


def _at(x: Tensor, side: Side) -> Tensor:
    if side.positions is None:
        return x
    if side.positions.shape[-1] != x.shape[-1]:
        raise ValueError(f"positions are added to tokens of width {x.shape[-1]}, not {side.positions.shape[-1]}")
    return x + side.positions
