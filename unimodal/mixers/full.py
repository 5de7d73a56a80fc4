"""Full: every token may attend to every other (multi-head attention around any attention rule).

Source: Vaswani et al. 2017, arXiv:1706.03762, sec. 3.2.2; grouped heads: Ainslie et al. 2023, arXiv:2305.13245;
query/key norm: Dehghani et al. 2023, arXiv:2302.05442, sec. 2.
Axes: B batch, N tokens, M memory tokens, D width, E of all heads, H heads, G key heads, R queries of one, K head width.
"""

import copy

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.attention.softmax import SoftmaxAttention
from unimodal.folding import preceded, scaled
from unimodal.part import Part
from unimodal.sharing_copy import sharing_copy
from unimodal.side import Side
from unimodal.whole_matrix import whole_matrix

__all__ = ["Full"]


class Full(nn.Module):
    """y = W_o concat_h attention(W_q x, W_k m, W_v m), with m = x, or the memory's tokens if there are any.

    One fused projection holds W_q, W_k, W_v, in this order; cross-attention uses its two slices.

    Args:
        dim: Width D (of x and of the memory).
        heads: Query heads H.
        key_heads: Key and value heads G, H a multiple of G; None means H.
        head_width: K; None means D / H.
        bias: Whether the query, key and value projection has a bias.
        attention: The attention rule.
        position: Acts on queries and keys head by head (rotary), or None.
        norm: Normalises queries and keys over K, or None.

    Shapes:
        x: (B, N, D);  side.memory.x: (B, M, D);  returns (B, N, D).

    Raises:
        ValueError: heads do not divide; the position part acts on tokens; memory comes with causal order, a packed
            layout, a mask of its own or a position part, or where a norm in front was folded (:meth:`preceded`), which
            it did not pass; what the attention rule refuses.
    """

    def __init__(
        self,
        dim: int,
        *,
        heads: int,
        key_heads: int | None = None,
        head_width: int | None = None,
        bias: bool = True,
        attention: Part = Part(SoftmaxAttention),
        position: Part | None = None,
        norm: Part | None = None,
    ) -> None:
        super().__init__()
        key_heads = heads if key_heads is None else key_heads
        if head_width is None and dim % heads:
            raise ValueError(f"dim {dim} is not a multiple of heads {heads}; give head_width")
        if heads % key_heads:
            raise ValueError(f"heads {heads} is not a multiple of key_heads {key_heads}")
        width = dim // heads if head_width is None else head_width
        self.sizes = (heads * width, key_heads * width, key_heads * width)
        self.heads, self.key_heads, self.folded = heads, key_heads, False
        self.to_qkv = nn.Linear(dim, sum(self.sizes), bias=bias)
        self.norm_q = norm(width) if norm is not None else None
        self.norm_k = norm(width) if norm is not None else None
        self.position = position(width) if position is not None else None
        if getattr(self.position, "applies_to", "heads") != "heads":
            raise ValueError(f"position {type(self.position).__name__} acts on tokens, not on heads")
        self.attention = attention()
        self.to_out = nn.Linear(heads * width, dim)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        q, k, v = self._project(x, side)
        q_BHNK = q.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        k_BGMK = k.unflatten(-1, (self.key_heads, -1)).transpose(1, 2)
        v_BGMK = v.unflatten(-1, (self.key_heads, -1)).transpose(1, 2)
        if self.norm_q is not None and self.norm_k is not None:
            q_BHNK, k_BGMK = self.norm_q(q_BHNK), self.norm_k(k_BGMK)
        if self.position is not None:
            q_BHNK, k_BGMK = self.position(q_BHNK, side), self.position(k_BGMK, side)
        o_BHNK = self.attention(q_BHNK, k_BGMK, v_BGMK, _of_keys(side))
        return self.to_out(o_BHNK.transpose(1, 2).flatten(2))

    def first_weights(self, x: Tensor) -> Tensor:
        """How the first token's softmax is spread over all, the average of the heads; no other weights are made.

        Queries go back through W_k to the width of x, so nothing as large as the keys is made.

        Shapes:
            x: (B, N, D);  returns (B, N), float32 or finer.

        Raises:
            ValueError: another attention than by softmax, or a norm or position on queries and keys.
        """
        if not isinstance(self.attention, SoftmaxAttention) or self.norm_q is not None or self.position is not None:
            raise ValueError("weights of the first token are of plain softmax, without norm or position on the heads")
        sizes, bias = self.sizes[:2], self.to_qkv.bias
        to_q, to_k = whole_matrix(self.to_qkv)[: sum(sizes)].split(sizes)
        q_BE = F.linear(x[:, 0], to_q, None if bias is None else bias[: sizes[0]])
        q_GRK = q_BE.unflatten(-1, (self.key_heads, self.heads // self.key_heads, -1)).movedim(1, 0).flatten(1, 2)
        back_GRD = q_GRK @ to_k.unflatten(0, (self.key_heads, -1))
        back_BHD = back_GRD.unflatten(1, (len(x), -1)).movedim(0, 1).flatten(1, 2)
        logit_BHN = back_BHD @ x.mT  # a bias of keys adds the same to all
        scale = q_GRK.shape[-1] ** -0.5 if self.attention.scale is None else self.attention.scale
        return (logit_BHN.to(torch.promote_types(x.dtype, torch.float32)) * scale).softmax(-1).mean(1)

    def scaled(self, factor_D: Tensor, shift_D: Tensor) -> "Full":
        """The mixer whose output is ``factor_D`` times this one's plus ``shift_D``, both in float64."""
        made = sharing_copy(self)
        made.to_out = scaled(self.to_out, factor_D, shift_D)
        return made

    def preceded(self, factor_D: Tensor, shift_D: Tensor) -> "Full":
        """The mixer that gives of x what this one gives of ``factor_D`` x + ``shift_D``, both in float64."""
        made = self.queried(factor_D, shift_D).keyed(factor_D, shift_D)
        made.folded = True
        return made

    def queried(self, factor_D: Tensor, shift_D: Tensor) -> "Full":
        """The mixer whose queries are those of ``factor_D`` x + ``shift_D``, both in float64; keys and values stay."""
        return self._projecting(factor_D, shift_D, slice(0, self.sizes[0]))

    def keyed(self, factor_D: Tensor, shift_D: Tensor) -> "Full":
        """The mixer whose keys and values are those of ``factor_D`` m + ``shift_D``, both in float64; queries stay."""
        return self._projecting(factor_D, shift_D, slice(self.sizes[0], None))

    def _projecting(self, factor_D: Tensor, shift_D: Tensor, rows: slice) -> "Full":
        made, whole = sharing_copy(self), preceded(self.to_qkv, factor_D, shift_D)
        layer = copy.deepcopy(self.to_qkv)
        if layer.bias is None:
            layer.bias = nn.Parameter(torch.zeros_like(whole.bias))
        with torch.no_grad():
            layer.weight[rows], layer.bias[rows] = whole.weight[rows], whole.bias[rows]
        made.to_qkv = layer
        return made

    def _project(self, x: Tensor, side: Side) -> tuple[Tensor, Tensor, Tensor]:
        if side.memory is None:
            q, k, v = self.to_qkv(x).split(self.sizes, dim=-1)
            return q, k, v
        if self.folded:
            raise ValueError("a norm in front was folded, which the tokens of a memory did not pass")
        if self.position is not None:
            raise ValueError("a position part on queries and keys has no meaning across to a memory")
        weight = whole_matrix(self.to_qkv).split([self.sizes[0], sum(self.sizes[1:])])
        bias = (None, None) if self.to_qkv.bias is None else self.to_qkv.bias.split([w.shape[0] for w in weight])
        k, v = F.linear(side.memory.x, weight[1], bias[1]).split(self.sizes[1:], dim=-1)
        return F.linear(x, weight[0], bias[0]), k, v


def _of_keys(side: Side) -> Side:
    """The side as the attention rule sees it: lengths count keys, and the memory has become k and v."""
    if side.memory is None:
        return side
    side.honour("mask", "bias", "memory", "lengths")
    side.memory.side.honour("lengths")
    return side.replace(memory=None, lengths=side.memory.side.lengths)
