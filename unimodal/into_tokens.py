"""Into tokens: what a transformer's tokens hear from the levels of a pyramid.

Source: Xia et al. 2024, arXiv:2403.07392; released code: github.com/Traffic-X/ViT-CoMer, comer_modules.py
(CTI_toV).
Axes: B rows, N tokens, M tokens of all levels, D width.
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.lattice import as_map
from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.side import Side
from unimodal.tokens import Tokens

__all__ = ["IntoTokens"]


class IntoTokens(nn.Module):
    """gamma sum_l resize(a_l),  a = feed(mixer(norm_q(c), memory = norm_v(c))).

    gamma is 0 at first, a factor a channel, so the tokens hear nothing then and gamma alone has a gradient. Each level
    is resized bilinearly to the tokens' lattice.

    Args:
        dim: Width D.
        mixer: Attention of tokens with levels to a memory with levels.
        feed: What follows it, residual included.
        norm: Of queries, and of values.

    Shapes:
        c: (B, M, D) with levels;  returns (B, N, D), to be added to the tokens of ``grid``.
    """

    def __init__(self, dim: int, *, mixer: Part, feed: Part, norm: Part = Part(LayerNorm, eps=1e-6)) -> None:
        super().__init__()
        self.norm_query, self.norm_value = norm(dim), norm(dim)
        self.mixer, self.feed = mixer(dim), feed(dim)
        self.gamma = nn.Parameter(torch.zeros(dim))

    def forward(self, c: Tensor, at: Side, grid: tuple[int, ...]) -> Tensor:
        memory = Tokens(self.norm_value(c), at)
        a = self.feed(self.mixer(self.norm_query(c), at.replace(memory=memory)), at)
        levels = at.levels or ()
        heard = []
        for own, level in zip(a.split([math.prod(level) for level in levels], 1), levels, strict=True):
            if level != grid:
                resized = F.interpolate(as_map(own, level), size=grid, mode="bilinear", align_corners=False)
                own = resized.flatten(2).mT
            heard.append(own)
        return self.gamma * sum(heard[1:], heard[0])
