"""Class and max readout: the class token beside the largest value of each channel over the other tokens.

Source: Yu et al. 2021, arXiv:2111.14819, and Pang et al. 2022, arXiv:2203.06604, in their released code for
classification.
Axes: S sequences, N tokens, D width.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.masks import keys_within
from unimodal.tokens import Tokens

__all__ = ["ClassAndMax"]


class ClassAndMax(nn.Module):
    """z = [x_1, max of x over the tokens behind the prefix]; padding does not count.

    Args:
        dim: Width D (no parameter depends on it); ``width`` is that of z.

    Shapes:
        tokens: S sequences of width D;  returns (S, 2 D).

    Raises:
        ValueError: the tokens have no prefix; a mask or bias is set: it would have to say which tokens count.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.width = 2 * dim

    def forward(self, tokens: Tokens) -> Tensor:
        x, side = tokens.x, tokens.side.honour("causal", "lengths", "cu_seqlens", "memory")
        if side.prefix < 1:
            raise ValueError("the tokens have no prefix, so there is no class token to read")
        if side.cu_seqlens is not None:
            return torch.stack([torch.cat([row[0], row[side.prefix :].amax(0)]) for row in tokens.split()])
        rest_BND = x[:, side.prefix :]
        if side.lengths is not None:
            real_BN1 = keys_within(side.lengths - side.prefix, rest_BND.shape[1])[:, 0, 0, :, None]
            rest_BND = rest_BND.masked_fill(~real_BN1, -torch.inf)
        return torch.cat([x[:, 0], rest_BND.amax(1)], -1)
