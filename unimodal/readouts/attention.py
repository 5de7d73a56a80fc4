"""Attention readout: one learned query gathers from all tokens, then a feed-forward with residual.

Source: Zhai et al. 2021, arXiv:2106.04560, sec. 2.3 (the MAP head), after Lee et al. 2018, arXiv:1810.00825, eq. 11.
Axes: S sequences, N tokens, D width.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.ffns.plain import Plain
from unimodal.mixers.full import Full
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.side import Side
from unimodal.tokens import Tokens

__all__ = ["AttentionReadout"]


class AttentionReadout(nn.Module):
    """h = mixer(query, memory = x);  z = h + ffn(norm(h)).

    Args:
        dim: Width D.
        heads: Heads of the mixer.
        ffn: Feed-forward part.
        norm: Norm part.

    Shapes:
        tokens: S sequences of width D;  returns (S, D).

    Raises:
        ValueError: a mask, bias or memory is set: none of them is made for the learned query.
    """

    def __init__(self, dim: int, *, heads: int, ffn: Part = Part(Plain), norm: Part = Part(LayerNorm)) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(1, dim))
        nn.init.trunc_normal_(self.query, std=0.02)
        self.mixer = Full(dim, heads=heads)
        self.norm = norm(dim)
        self.ffn = ffn(dim)

    def forward(self, tokens: Tokens) -> Tensor:
        tokens.side.honour("causal", "lengths", "cu_seqlens")
        padded = tokens.padded()
        memory = Tokens(padded.x, Side(lengths=padded.side.lengths))
        query_S1D = self.query.to(memory.x.dtype).expand(memory.x.shape[0], 1, -1)
        h = self.mixer(query_S1D, Side(memory=memory))
        return (h + self.ffn(self.norm(h)))[:, 0]
