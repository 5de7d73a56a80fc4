"""Hidden norm feed-forward: two linear maps around an activation and a norm of the hidden channels.

Source: Woo et al. 2023, arXiv:2301.00808, sec. 3 (global response norm behind the activation); Ding et al. 2024,
arXiv:2311.15599, and its code github.com/AILab-CVC/UniRepLKNet, unireplknet.py (no bias in front of a batch norm).
Axes: B batch, N tokens, D width, F hidden width.
"""

from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.activation import activation as activation_named
from unimodal.folding import preceded, scaled
from unimodal.norms.global_response import GlobalResponseNorm
from unimodal.part import Part
from unimodal.sharing_copy import sharing_copy
from unimodal.side import Side

__all__ = ["HiddenNorm"]


class HiddenNorm(nn.Module):
    """y = W_2 norm(act(W_1 x + b_1)) + b_2.

    Args:
        dim: Width D.
        ratio: F / D.
        activation: A name from :mod:`unimodal.activation`.
        norm: Norm of width F.
        bias: Whether there is b_2; a batch norm behind it has its own.

    Shapes:
        x: (B, N, D);  returns (B, N, D).

    Raises:
        ValueError: an unknown activation; what the norm refuses.
    """

    def __init__(
        self,
        dim: int,
        *,
        ratio: float = 4.0,
        activation: str = "gelu",
        norm: Part = Part(GlobalResponseNorm),
        bias: bool = True,
    ) -> None:
        super().__init__()
        hidden = int(dim * ratio)
        self.to_hidden = nn.Linear(dim, hidden)
        self.activation = activation_named(activation)
        self.norm: Any = norm(hidden)
        self.to_out = nn.Linear(hidden, dim, bias=bias)
        for layer in (self.to_hidden, self.to_out):
            nn.init.trunc_normal_(layer.weight, std=0.02)
        nn.init.zeros_(self.to_hidden.bias)
        if self.to_out.bias is not None:
            nn.init.zeros_(self.to_out.bias)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        return self.to_out(self.norm(self.activation(self.to_hidden(x)), side))

    def deployed(self) -> "HiddenNorm":
        """The same outputs with the norm's additive term c in b_2: W_2 (h + c) + b_2 = W_2 h + (W_2 c + b_2)."""
        if getattr(self.norm, "bias", None) is None or not hasattr(self.norm, "unshifted"):
            return self
        norm, shift_F = self.norm.unshifted()
        out_D = self.to_out.weight.double() @ shift_F.double()
        made = self.scaled(torch.ones_like(out_D), out_D)
        made.norm = norm
        return made

    def scaled(self, factor_D: Tensor, shift_D: Tensor) -> "HiddenNorm":
        """The map whose output is ``factor_D`` times this one's plus ``shift_D``, both in float64."""
        made = sharing_copy(self)
        made.to_out = scaled(self.to_out, factor_D, shift_D)
        return made

    def preceded(self, factor_D: Tensor, shift_D: Tensor) -> "HiddenNorm":
        """The map that gives of x what this one gives of ``factor_D`` x + ``shift_D``, both in float64."""
        made = sharing_copy(self)
        made.to_hidden = preceded(self.to_hidden, factor_D, shift_D)
        return made
