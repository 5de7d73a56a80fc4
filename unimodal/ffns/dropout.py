"""Feed-forward with dropout: behind the activation and behind the second map, while training.

Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 2 and sec. 5.4; dropout: Srivastava et al. 2014, JMLR 15, sec. 4, in
the inverted form. Dropping the hidden numbers too follows the paper's own code (tensor2tensor).
Axes: B batch, N tokens, D width, F hidden width.
"""

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.activation import activation as activation_named
from unimodal.side import Side

__all__ = ["DropoutFFN"]


class DropoutFFN(nn.Module):
    """y = drop(W_2 drop(act(W_1 x + b_1)) + b_2); out of training, :class:`~unimodal.ffns.plain.Plain`.

    Args:
        dim: Width D.
        hidden: Hidden width F; None means 4 D.
        activation: A name from :mod:`unimodal.activation`.
        rate: Probability that a number is dropped; the others are divided by 1 - rate.

    Shapes:
        x: (B, N, D);  returns (B, N, D).

    Raises:
        ValueError: an unknown activation, or a rate outside [0, 1).
    """

    def __init__(self, dim: int, *, hidden: int | None = None, activation: str = "gelu", rate: float = 0.1) -> None:
        super().__init__()
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"rate is a probability below 1, not {rate}")
        hidden = 4 * dim if hidden is None else hidden
        self.to_hidden = nn.Linear(dim, hidden)
        self.activation = activation_named(activation)
        self.to_out = nn.Linear(hidden, dim)
        self.rate = rate

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        hidden_BNF = F.dropout(self.activation(self.to_hidden(x)), self.rate, self.training)
        return F.dropout(self.to_out(hidden_BNF), self.rate, self.training)
