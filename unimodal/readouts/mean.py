"""Mean readout: the average of a sequence's lattice tokens.

Source: Zhai et al. 2021, arXiv:2106.04560, sec. 2.3 (global average pooling instead of a class token).
Axes: S sequences, N tokens, D width.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.masks import keys_within
from unimodal.tokens import Tokens

__all__ = ["Mean"]


class Mean(nn.Module):
    """z = mean of x over the tokens behind the prefix; padding does not count.

    Args:
        dim: Width D (no parameter depends on it).

    Shapes:
        tokens: S sequences of width D;  returns (S, D). The sum is taken in float32.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()

    def forward(self, tokens: Tokens) -> Tensor:
        x, side = tokens.x, tokens.side
        prefix = side.prefix
        if side.cu_seqlens is not None:
            return torch.stack([row[prefix:].float().mean(0) for row in tokens.split()]).to(x.dtype)
        if side.lengths is None:
            return x[:, prefix:].float().mean(1).to(x.dtype)
        real_BN1 = keys_within(side.lengths - prefix, x.shape[1] - prefix)[:, 0, 0, :, None]
        total_BD = x[:, prefix:].float().masked_fill(~real_BN1, 0.0).sum(1)
        return (total_BD / (side.lengths - prefix)[:, None]).to(x.dtype)
