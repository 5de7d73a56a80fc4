"""Softmax attention whose weights are dropped at random while training.

Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 1; dropout: Srivastava et al. 2014, JMLR 15, sec. 4, in the inverted
form. Which weights are dropped follows the paper's own code (tensor2tensor): those behind the softmax.
Axes: B batch, H heads, G key heads, N queries, M keys, K key width, V value width.
"""

from functools import partial

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.kernels.attention import attention
from unimodal.kernels.attention_arguments import check_arguments
from unimodal.kernels.by_sequence import by_sequence
from unimodal.masks import keys_within
from unimodal.side import Side

__all__ = ["DropoutAttention"]


class DropoutAttention(nn.Module):
    """o = drop(softmax(q k^T / sqrt(K) + bias)) v.

    A row of weights does not sum to one after dropping, only in expectation. Out of training it is
    :class:`~unimodal.attention.softmax.SoftmaxAttention`.

    Args:
        rate: Probability that a weight is dropped; the others are divided by 1 - rate.

    Shapes:
        q: (B, H, N, K);  k: (B, G, M, K);  v: (B, G, M, V), H a multiple of G;  returns (B, H, N, V).

    Raises:
        ValueError: a rate outside [0, 1), ``side.memory`` is set (the mixer projects it to k and v), or a packed batch
            has a mask or bias.

    Cost: O(B H N M K) time; O(B H N M) memory while training.
    """

    def __init__(self, *, rate: float = 0.1) -> None:
        super().__init__()
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"rate is a probability below 1, not {rate}")
        self.rate = rate

    def forward(self, q: Tensor, k: Tensor, v: Tensor, side: Side = Side()) -> Tensor:
        side.honour("mask", "bias", "causal", "lengths", "cu_seqlens")
        mask = side.mask
        if side.lengths is not None:
            within = keys_within(side.lengths, k.shape[-2])
            mask = within if mask is None else mask & within
        if not self.training or self.rate == 0.0:
            return attention(q, k, v, mask=mask, bias=side.bias, causal=side.causal, cu_seqlens=side.cu_seqlens)
        if side.cu_seqlens is None:
            return self._dropped(q, k, v, mask, side)
        check_arguments(q, k, v, mask=mask, bias=side.bias, cu_seqlens=side.cu_seqlens)
        return by_sequence(partial(self._dropped, mask=None, side=side), q, k, v, side.cu_seqlens)

    def _dropped(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, side: Side) -> Tensor:
        group, (n, m) = q.shape[1] // k.shape[1], (q.shape[2], k.shape[2])
        k_BHMK, v_BHMV = (t.repeat_interleave(group, dim=1) if group > 1 else t for t in (k, v))
        dtype = torch.promote_types(q.dtype, torch.float32)
        logit_BHNM = (q @ k_BHMK.mT).to(dtype) * q.shape[-1] ** -0.5
        if side.bias is not None:
            logit_BHNM = logit_BHNM + side.bias
        if side.causal:
            before = torch.ones(n, m, dtype=torch.bool, device=q.device).tril(m - n)
            mask = before if mask is None else mask & before
        if mask is not None:
            logit_BHNM = logit_BHNM.masked_fill(~mask, float("-inf"))
        weight_BHNM = logit_BHNM.softmax(-1)
        if mask is not None:
            weight_BHNM = weight_BHNM.masked_fill(~mask, 0.0)  # a row without keys is NaN until here
        return (F.dropout(weight_BHNM, self.rate).to(v.dtype) @ v_BHMV).to(v.dtype)
