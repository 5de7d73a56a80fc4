"""Gated feed-forward: one linear map opens and closes the channels of another.

Source: Shazeer 2020, arXiv:2002.05202, eq. 5-6 (GEGLU, SwiGLU).
Axes: B batch, N tokens, D width, F hidden width.
"""

import torch.nn as nn
from torch import Tensor

from unimodal.activation import activation as activation_named
from unimodal.side import Side

__all__ = ["Gated"]


class Gated(nn.Module):
    """y = W_2 (act(W x) * V x); W and V are one fused map, W first.

    With act = SiLU this is SwiGLU. The paper keeps the parameter count of a plain feed-forward of ratio 4 by
    F = 2/3 * 4 D, which is the default here.

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
        ratio: float = 8 / 3,
        activation: str = "silu",
        bias: bool = False,
    ) -> None:
        super().__init__()
        hidden = int(dim * ratio) if hidden is None else hidden
        self.to_hidden = nn.Linear(dim, 2 * hidden, bias=bias)
        self.activation = activation_named(activation)
        self.to_out = nn.Linear(hidden, dim, bias=bias)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        gate, value = self.to_hidden(x).chunk(2, dim=-1)
        return self.to_out(self.activation(gate) * value)
