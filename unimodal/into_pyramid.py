"""Into pyramid: the levels of a pyramid, which have met a transformer's tokens, tell one another.

Source: Xia et al. 2024, arXiv:2403.07392; released code: github.com/Traffic-X/ViT-CoMer, comer_modules.py
(CTI_toC, Extractor_CTI and their MultiscaleExtractor).
Axes: B rows, M tokens of all levels, D width.
"""

import torch.nn as nn
from torch import Tensor

from unimodal.norms.layer import LayerNorm
from unimodal.part import Part
from unimodal.side import Side
from unimodal.tokens import Tokens

__all__ = ["IntoPyramid"]


class IntoPyramid(nn.Module):
    """q = norm_1(c);  y = feed(q + mixer(norm_3(q), memory = norm_4(norm_2(c)))), of c = ahead(c) if there is one.

    As in the released code, what the mixer's result is added to is the normed c: the levels' own stream ends here and
    begins anew.

    Args:
        dim: Width D.
        mixer: Attention of tokens with levels to a memory with levels.
        feed: What follows it, residual included.
        ahead: What goes before all this, residual included, or None.
        norm: All four of them.

    Shapes:
        c: (B, M, D) with levels;  returns (B, M, D).
    """

    def __init__(
        self, dim: int, *, mixer: Part, feed: Part, ahead: Part | None = None, norm: Part = Part(LayerNorm, eps=1e-6)
    ) -> None:
        super().__init__()
        self.ahead = None if ahead is None else ahead(dim)
        self.norm_stream, self.norm_source, self.norm_query, self.norm_value = (norm(dim) for _ in range(4))
        self.mixer, self.feed = mixer(dim), feed(dim)

    def forward(self, c: Tensor, at: Side) -> Tensor:
        c = c if self.ahead is None else self.ahead(c, at)
        q = self.norm_stream(c)
        memory = Tokens(self.norm_value(self.norm_source(c)), at)
        return self.feed(q + self.mixer(self.norm_query(q), at.replace(memory=memory)), at)
