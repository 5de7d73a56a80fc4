"""Plain feed-forward: two linear maps around one activation, token by token.

Source: Vaswani et al. 2017, arXiv:1706.03762, eq. 2 (there with ReLU); GELU: Hendrycks & Gimpel 2016,
arXiv:1606.08415, sec. 2.
Axes: B batch, N tokens, D width, F hidden width.
"""

import torch.nn as nn
from torch import Tensor

from unimodal.activation import activation as activation_named
from unimodal.folding import preceded, scaled
from unimodal.overwriting import overwriting
from unimodal.sharing_copy import sharing_copy
from unimodal.side import Side

__all__ = ["Plain"]


class Plain(nn.Module):
    """y = W_2 act(W_1 x + b_1) + b_2.

    Args:
        dim: Width D.
        hidden: Hidden width F; None means ``ratio`` D.
        ratio: F / D where ``hidden`` is None.
        activation: A name from :mod:`unimodal.activation`.
        bias: Whether the linear maps have biases.

    Shapes:
        x: (B, N, D);  returns (B, N, D).

    Raises:
        ValueError: an unknown activation.
    """

    def __init__(
        self,
        dim: int,
        *,
        hidden: int | None = None,
        ratio: float = 4.0,
        activation: str = "gelu",
        bias: bool = True,
    ) -> None:
        super().__init__()
        hidden = int(dim * ratio) if hidden is None else hidden
        self.to_hidden = nn.Linear(dim, hidden, bias=bias)
        self.activation = activation_named(activation)
        self.to_out = nn.Linear(hidden, dim, bias=bias)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        return self.to_out(overwriting(self.activation, self.to_hidden(x)))

    def scaled(self, factor_D: Tensor, shift_D: Tensor) -> "Plain":
        """The map whose output is ``factor_D`` times this one's plus ``shift_D``, both in float64."""
        made = sharing_copy(self)
        made.to_out = scaled(self.to_out, factor_D, shift_D)
        return made

    def preceded(self, factor_D: Tensor, shift_D: Tensor) -> "Plain":
        """The map that gives of x what this one gives of ``factor_D`` x + ``shift_D``, both in float64."""
        made = sharing_copy(self)
        made.to_hidden = preceded(self.to_hidden, factor_D, shift_D)
        return made
