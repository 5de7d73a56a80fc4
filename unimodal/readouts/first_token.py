"""First token readout: a token of the input itself, which was put in front of it, stands for its sequence.

Source: Devlin et al. 2018, arXiv:1810.04805, sec. 3 (the final hidden state of [CLS]).
Axes: S sequences, D width.
"""

import torch.nn as nn
from torch import Tensor

from unimodal.tokens import Tokens

__all__ = ["FirstToken"]


class FirstToken(nn.Module):
    """z = x_1 of each sequence, behind the model's own prefix tokens if it has any.

    :class:`~unimodal.readouts.class_token.ClassToken` reads a learned prefix token instead.

    Args:
        dim: Width D (no parameter depends on it).

    Shapes:
        tokens: S sequences of width D;  returns (S, D).

    Raises:
        ValueError: a mask or bias is set: the first token might be a hidden one.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()

    def forward(self, tokens: Tokens) -> Tensor:
        x, side = tokens.x, tokens.side.honour("causal", "lengths", "cu_seqlens", "memory")
        if side.cu_seqlens is not None:
            return x[0, side.cu_seqlens[:-1].long() + side.prefix]
        return x[:, side.prefix]
