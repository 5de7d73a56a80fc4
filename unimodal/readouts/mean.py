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
        tokens: S sequences of width D;  returns (S, D). The sum is taken in float32 (float64 for float64).

    Raises:
        ValueError: a mask or bias is set: it would have to say which tokens count.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()

    def forward(self, tokens: Tokens) -> Tensor:
        x, side = tokens.x, tokens.side.honour("causal", "lengths", "cu_seqlens", "memory")
        prefix, dtype = side.prefix, torch.promote_types(x.dtype, torch.float32)
        if side.cu_seqlens is not None:
            return torch.stack([row[prefix:].mean(0, dtype=dtype) for row in tokens.split()]).to(x.dtype)
        if side.lengths is None:
            return x[:, prefix:].mean(1, dtype=dtype).to(x.dtype)
        real_BN1 = keys_within(side.lengths - prefix, x.shape[1] - prefix)[:, 0, 0, :, None]
        total_BD = x[:, prefix:].masked_fill(~real_BN1, 0.0).sum(1, dtype=dtype)
        return (total_BD / (side.lengths - prefix)[:, None]).to(x.dtype)
