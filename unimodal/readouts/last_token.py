"""Last token readout: under causal attention the last token has seen its whole sequence.

Source: Radford et al. 2021, arXiv:2103.00020, sec. 2.4 (the text tower reads its end-of-text token).
Axes: S sequences, D width, E output width.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.tokens import Tokens

__all__ = ["LastToken"]


class LastToken(nn.Module):
    """z = W x_n + b (or x_n itself), n the last real token of each sequence.

    Args:
        dim: Width D.
        width: Output width E of a projection, or None for no projection.
        bias: Whether the projection has a bias.

    Shapes:
        tokens: S sequences of width D;  returns (S, E).

    Raises:
        ValueError: a mask or bias is set: the last token might be a hidden one.
    """

    def __init__(self, dim: int, *, width: int | None = None, bias: bool = False) -> None:
        super().__init__()
        self.width = dim if width is None else width
        self.project = nn.Linear(dim, width, bias=bias) if width is not None else None

    def forward(self, tokens: Tokens) -> Tensor:
        x, side = tokens.x, tokens.side.honour("causal", "lengths", "cu_seqlens", "memory")
        if side.cu_seqlens is not None:
            last_SD = x[0, side.cu_seqlens[1:].long() - 1]
        elif side.lengths is not None:
            last_SD = x[torch.arange(x.shape[0], device=x.device), side.lengths - 1]
        else:
            last_SD = x[:, -1]
        return last_SD if self.project is None else self.project(last_SD)
