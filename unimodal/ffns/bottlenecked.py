"""Bottlenecked feed-forward: another feed-forward, whose output a narrow trained map reads and corrects.

Source: adapters behind a feed-forward: Houlsby et al. 2019, arXiv:1902.00751, sec. 2.1; as in Any2Point, Tang et al.
2024, arXiv:2404.07989; released code: github.com/Ivan-Tang-3D/Any2Point, models/peft_module/adapter.py.
Axes: B batch, N tokens, D width, F width of the bottleneck.
"""

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.activation import activation as activation_named
from unimodal.ffns.plain import Plain
from unimodal.part import Part
from unimodal.side import Side

__all__ = ["Bottlenecked"]


class Bottlenecked(nn.Module):
    """y = h + s (W_2 drop(act(W_1 h + b_1)) + b_2), h = ffn(x).

    With s = 0 it is the feed-forward itself. A layer scale of the block acts on the sum, whereas the released code for
    pictures reads the scaled h and leaves its correction unscaled: the same functions with other W_1 and W_2.

    Args:
        dim: Width D.
        ffn: The feed-forward, usually frozen.
        width: F.
        scale: s.
        activation: A name from :mod:`unimodal.activation`.
        dropout: Probability that a number of the bottleneck is dropped while training.

    Shapes:
        x: (B, N, D);  returns (B, N, D).

    Raises:
        ValueError: a width that is not positive, an unknown activation, or a rate outside [0, 1).
    """

    def __init__(
        self,
        dim: int,
        *,
        ffn: Part = Part(Plain),
        width: int = 16,
        scale: float = 0.3,
        activation: str = "gelu_quick",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"width must be positive, not {width}")
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout is a probability below 1, not {dropout}")
        self.ffn, self.scale, self.dropout = ffn(dim), scale, dropout
        self.to_hidden, self.to_out = nn.Linear(dim, width), nn.Linear(width, dim)
        self.activation = activation_named(activation)
        for linear in (self.to_hidden, self.to_out):
            nn.init.xavier_uniform_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        h = self.ffn(x, side)
        narrow = F.dropout(self.activation(self.to_hidden(h)), self.dropout, self.training)
        return h + self.scale * self.to_out(narrow)
