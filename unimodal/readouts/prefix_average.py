"""Prefix average: several prefix tokens, each through its own head, averaged (class and distillation token).

Source: Touvron et al. 2020, arXiv:2012.12877, sec. 4 (distillation through a token; at test time both heads count).
Axes: S sequences, D width, E output width, R prefix tokens.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.tokens import Tokens

__all__ = ["PrefixAverage"]


class PrefixAverage(nn.Module):
    """z = 1 / R sum_r h_r(x_r), h_r affine or the identity; R = 2 is the distilled DeiT.

    The paper adds the softmax outputs of both heads; its released code averages the logits, which we follow.

    Args:
        dim: Width D.
        count: R, the first so many tokens of each sequence.
        width: Output width E of the heads, or None for none.

    Shapes:
        tokens: S sequences of width D;  returns (S, E).

    Raises:
        ValueError: the tokens have fewer than R prefix tokens.
    """

    def __init__(self, dim: int, *, count: int = 1, width: int | None = None) -> None:
        super().__init__()
        self.width = dim if width is None else width
        self.heads = nn.ModuleList(nn.Identity() if width is None else nn.Linear(dim, width) for _ in range(count))

    def forward(self, tokens: Tokens) -> Tensor:
        if tokens.side.prefix < len(self.heads):
            raise ValueError(f"this readout needs {len(self.heads)} prefix tokens, not {tokens.side.prefix}")
        cu = tokens.side.cu_seqlens
        rows = [tokens.x[:, r] if cu is None else tokens.x[0, cu[:-1].long() + r] for r in range(len(self.heads))]
        read = [head(x_SD) for head, x_SD in zip(self.heads, rows, strict=True)]
        return torch.stack(read).mean(0)
