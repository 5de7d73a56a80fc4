"""Mapped attention: multi-head attention whose four maps are parts, which may be trained in another form than used.

Source: Tan et al. 2023, arXiv:2311.05707 (reparameterised lightweight attention, RLMHSA; its code was never released);
the attention: Vaswani et al. 2017, arXiv:1706.03762, sec. 3.2.2.
Axes: B rows, N tokens, M memory tokens, D width, H heads, K head width.
"""

from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.attention.softmax import SoftmaxAttention
from unimodal.ffns.linear import Linear
from unimodal.mixers.full import Full
from unimodal.mixers.multi_group import MultiGroup
from unimodal.part import Part
from unimodal.side import Side

__all__ = ["Mapped"]


class Mapped(nn.Module):
    """y = out(concat_h attention(q(x), k(m), v(m))), with m = x, or the memory's tokens if there are any.

    Where all four maps are linear in use, this is :class:`~unimodal.mixers.full.Full` then (:meth:`deployed`), whose
    one map takes in the norms in front of it.

    Args:
        dim: Width D (of x and of the memory).
        heads: H.
        head_width: K; None means D / H. A smaller one makes the scores cheaper.
        project: The four maps; a part that takes ``width``.
        attention: The attention rule.

    Shapes:
        x: (B, N, D);  side.memory.x: (B, M, D);  returns (B, N, D).

    Raises:
        ValueError: heads do not divide; a mask, bias or causal order is set; the memory is packed; what the maps and
            the attention rule refuse.
    """

    def __init__(
        self,
        dim: int,
        *,
        heads: int,
        head_width: int | None = None,
        project: Part = Part(MultiGroup),
        attention: Part = Part(SoftmaxAttention),
    ) -> None:
        super().__init__()
        if head_width is None and dim % heads:
            raise ValueError(f"dim {dim} is not a multiple of heads {heads}; give head_width")
        self.heads, self.head_width = heads, dim // heads if head_width is None else head_width
        inner = heads * self.head_width
        self.to_q, self.to_k, self.to_v = (project(dim, width=inner) for _ in range(3))
        self.attention = attention()
        self.attends = attention
        self.to_out = project(inner, width=dim)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        side.honour("lengths", "cu_seqlens", "memory")
        if side.memory is None:
            m, theirs, of_keys = x, side, side
        else:
            side.honour("lengths", "memory")
            m, theirs = side.memory.x, side.memory.side.honour("lengths")
            side = side.replace(memory=None)
            of_keys = side.replace(lengths=theirs.lengths)
        q, k, v = self.to_q(x, side), self.to_k(m, theirs), self.to_v(m, theirs)
        heads = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
        o_BHNK = self.attention(*heads, of_keys)
        return self.to_out(o_BHNK.transpose(1, 2).flatten(2), side)

    def deployed(self) -> Any:
        """The same attention with one map to queries, keys and values, if its maps are linear by now."""
        maps: list[Any] = [self.to_q, self.to_k, self.to_v, self.to_out]
        if any(type(made) is not Linear or made.project.bias is None for made in maps):
            return self
        q, k, v, out = (made.project for made in maps)
        full = Full(q.in_features, heads=self.heads, head_width=self.head_width, attention=self.attends)
        full.attention, full.to_out = self.attention, out
        full.to_qkv.weight = nn.Parameter(torch.cat([q.weight, k.weight, v.weight]).detach())
        full.to_qkv.bias = nn.Parameter(torch.cat([q.bias, k.bias, v.bias]).detach())
        return full.train(self.training)
