"""Diagonal attention: each token attends within its own block of neighbours, and the blocks do not overlap.

Source: Qin et al. 2022, arXiv:2210.10340, sec. 4.2; github.com/OpenNLPLab/fairseq-evo, fairseq/modules/
norm_local_attention.py (blocks from the sequence's start, scaled scores, relu without a normaliser).
Axes: B batch, H heads, G key heads, N tokens, K key width, V value width, W tokens of a block, C whole blocks.
"""

from itertools import pairwise

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.kernels.dispatch import Wish
from unimodal.kernels.rule import Rule
from unimodal.kernels.rule_attention import rule_attention
from unimodal.side import Side

__all__ = ["DiagonalAttention"]


class DiagonalAttention(nn.Module):
    """o_n = sum_m weights(scale q_n k_m) v_m over the keys m with floor(m / W) = floor(n / W).

    Blocks are counted from each sequence's own start, and the last one has as many tokens as are left. The released
    code fills it up with zeros instead, which under softmax take weight from the tokens; here they do not exist. A
    window that slides is another rule: here the first token of a block sees none of those before it.

    Weights of ``relu`` have no normaliser; the norm that the paper puts behind them is that of
    :class:`~unimodal.attention.norm_attention.NormAttention` around this rule.

    Args:
        block: W (tokens).
        weights: ``softmax``, ``relu`` or ``sigmoid``.
        scale: Factor on q k^T; None means 1 / sqrt(K).
        implementation: ``auto``, ``reference`` or ``require`` (see :mod:`unimodal.kernels.dispatch`).

    Shapes:
        q: (B, H, N, K);  k: (B, G, N, K);  v: (B, G, N, V), H a multiple of G;  returns (B, H, N, V).

    Raises:
        ValueError: ``block`` is below 1 or the weights unknown; there are more or fewer keys than queries, which would
            leave open whose blocks count; ``side.memory`` is set; or a packed batch has a mask or bias.

    Cost: O(B H N W K) time, O(B H N V) memory.
    """

    def __init__(
        self, *, block: int = 64, weights: str = "softmax", scale: float | None = None, implementation: Wish = "auto"
    ) -> None:
        super().__init__()
        if block < 1:
            raise ValueError(f"block is a number of tokens, at least 1, not {block}")
        self.block = block
        self.rule, self.causal = (Rule(weights, causal=order, scale=scale) for order in (False, True))
        self.implementation: Wish = implementation

    def forward(self, q: Tensor, k: Tensor, v: Tensor, side: Side = Side()) -> Tensor:
        side.honour("mask", "bias", "causal", "lengths", "cu_seqlens")
        if q.shape[2] != k.shape[2]:
            raise ValueError(f"blocks of tokens need as many keys as queries, not {k.shape[2]} and {q.shape[2]}")
        if side.cu_seqlens is not None:
            return self._attend(q, k, v, side, cu_seqlens=_cut(side.cu_seqlens, self.block))
        whole = q.shape[2] // self.block * self.block
        body = [self._whole_blocks(q, k, v, side)] if whole else []
        if whole == q.shape[2] and body:
            return body[0]
        rest = slice(whole, None)
        mask, bias = (_rest(term, rest) for term in (side.mask, side.bias))
        lengths = None if side.lengths is None else (side.lengths - whole).clamp(min=0)
        tail = self._attend(q[:, :, rest], k[:, :, rest], v[:, :, rest], side, lengths=lengths, mask=mask, bias=bias)
        return torch.cat([*body, tail], dim=2)

    def _whole_blocks(self, q: Tensor, k: Tensor, v: Tensor, side: Side) -> Tensor:
        """The blocks that have all their tokens, as rows of one batch (B C, H, W, K)."""
        count, whole = q.shape[2] // self.block, q.shape[2] // self.block * self.block
        cut = [t[:, :, :whole].unflatten(2, (count, -1)).transpose(1, 2).flatten(0, 1) for t in (q, k, v)]
        mask, bias = (_blocks(term, count, self.block, q.shape[0]) for term in (side.mask, side.bias))
        lengths = side.lengths
        if lengths is not None:
            first_C = torch.arange(count, device=lengths.device) * self.block
            lengths = (lengths[:, None] - first_C).clamp(0, self.block).flatten()
        o = self._attend(cut[0], cut[1], cut[2], side, lengths=lengths, mask=mask, bias=bias)
        return o.unflatten(0, (q.shape[0], count)).transpose(1, 2).flatten(2, 3)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, side: Side, **terms: Tensor | None) -> Tensor:
        if side.cu_seqlens is not None:
            terms |= {"mask": side.mask, "bias": side.bias}
        rule = self.causal if side.causal else self.rule
        return rule_attention(q, k, v, rule, **terms, implementation=self.implementation)


def _cut(cu_seqlens: Tensor, block: int) -> Tensor:
    """The boundaries of all blocks of packed sequences."""
    ends = cu_seqlens.tolist()
    starts = [n for first, last in pairwise(ends) for n in range(first, last, block)]
    return cu_seqlens.new_tensor([*starts, ends[-1]])


def _blocks(term: Tensor | None, count: int, block: int, rows: int) -> Tensor | None:
    """The blocks on the diagonal of a term over pairs (B or 1, H or 1, N or 1, M or 1), a row each (B C, ...)."""
    if term is None:
        return None
    term, tokens = term[(None,) * (4 - term.ndim)], count * block
    queries, keys = (n > 1 for n in term.shape[2:])
    term = term[:, :, : tokens if queries else None, : tokens if keys else None]
    term = term.unflatten(3, (count if keys else 1, -1)).unflatten(2, (count if queries else 1, -1))
    term = term.expand(rows, -1, count, -1, count, -1).diagonal(dim1=2, dim2=4)
    return term.movedim(-1, 1).flatten(0, 1)


def _rest(term: Tensor | None, rest: slice) -> Tensor | None:
    if term is None:
        return None
    term = term[(None,) * (4 - term.ndim)]
    return term[:, :, rest if term.shape[2] > 1 else slice(None), rest if term.shape[3] > 1 else slice(None)]
