"""Activated: an element-wise activation as a part, between the maps of a chain.

Source: GELU: Hendrycks & Gimpel 2016, arXiv:1606.08415, sec. 2.
Axes: B batch, N tokens, D width.
"""

import torch.nn as nn
from torch import Tensor

from unimodal.activation import activation as activation_named
from unimodal.overwriting import overwriting
from unimodal.side import Side

__all__ = ["Activated"]


class Activated(nn.Module):
    """y = act(x).

    Args:
        dim: Width D (no parameter depends on it).
        activation: A name from :mod:`unimodal.activation`.

    Shapes:
        x: (B, N, D);  returns (B, N, D).

    Raises:
        ValueError: an unknown activation.
    """

    def __init__(self, dim: int, *, activation: str = "gelu") -> None:
        super().__init__()
        self.activation = activation_named(activation)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        return self.activation(x)

    def overwrite(self, x: Tensor) -> Tensor:
        """The same, where nobody else has ``x`` (:func:`~unimodal.overwriting.overwriting`)."""
        return overwriting(self.activation, x)
