"""Cross block: tokens read a memory of another width, with a residual and, if wanted, a feed-forward behind it.

Source: Vaswani et al. 2017, arXiv:1706.03762, sec. 3.2.3; with norms on both sides and an attention width of its own:
Chen & Li 2023, arXiv:2305.12689, as in its code google-research/pix2seq, architectures/transformers.py,
TransformerDecoderLayer.
Axes: B rows, N tokens, M memory tokens, D width, E width of the memory, H heads, K head width.
"""

import torch.nn as nn
from torch import Tensor

from unimodal.attention.softmax import SoftmaxAttention
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.side import Side

__all__ = ["CrossBlock"]


class CrossBlock(nn.Module):
    """x = x + W_o attention(W_q norm(x), W_k norm(m), W_v norm(m));  x = x + ffn(norm(x)) if there is one.

    Unlike a :class:`~unimodal.block.Block` around :class:`~unimodal.mixers.full.Full` it lets x and the memory m have
    different widths and norms.

    Args:
        dim: Width D of x.
        source: Width E of the memory.
        heads: H.
        width: Attention width H K; None means the smaller of D and E.
        ffn: Token-wise map behind the attention, or None.
        norm: Norm of x and of the memory, and in front of the feed-forward.
        attention: The attention rule.

    Shapes:
        x: (B, N, D);  side.memory.x: (B, M, E);  returns (B, N, D).

    Raises:
        ValueError: heads do not divide the width; there is no memory; causal order or a packed layout is asked for, or
            the memory has constraints other than lengths.
    """

    def __init__(
        self,
        dim: int,
        source: int,
        *,
        heads: int,
        width: int | None = None,
        ffn: Part | None = None,
        norm: Part = Part(LayerNorm),
        attention: Part = Part(SoftmaxAttention),
    ) -> None:
        super().__init__()
        width = min(dim, source) if width is None else width
        if width % heads:
            raise ValueError(f"the attention width {width} is not a multiple of heads {heads}")
        self.heads = heads
        self.norm_tokens, self.norm_memory = norm(dim), norm(source)
        self.to_q = nn.Linear(dim, width)
        self.to_kv = nn.Linear(source, 2 * width)
        self.attention = attention()
        self.to_out = nn.Linear(width, dim)
        self.norm_ffn = norm(dim) if ffn is not None else None
        self.ffn = ffn(dim) if ffn is not None else None

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        memory = side.honour("mask", "bias", "memory", "lengths").memory
        if memory is None:
            raise ValueError("a cross block needs a memory (side.memory) to read from")
        memory.side.honour("lengths")
        q_BHNK = self._heads(self.to_q(self.norm_tokens(x, side)))
        k_BHMK, v_BHMK = map(self._heads, self.to_kv(self.norm_memory(memory.x, memory.side)).chunk(2, -1))
        seen = Side(mask=side.mask, bias=side.bias, lengths=memory.side.lengths)
        x = x + self.to_out(self.attention(q_BHNK, k_BHMK, v_BHMK, seen).transpose(1, 2).flatten(2))
        return x if self.norm_ffn is None or self.ffn is None else x + self.ffn(self.norm_ffn(x, side), side)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
