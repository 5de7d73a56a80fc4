"""Perceptron: hidden layers with batch norm behind another readout, and a last linear map (a classifier).

Source: Ioffe & Szegedy 2015, arXiv:1502.03167, sec. 3.2 (a norm between map and activation); as the head of point
cloud classifiers: Qi et al. 2016, arXiv:1612.00593, sec. 4 and appendix C; Pang et al. 2022, arXiv:2203.06604.
Axes: S sequences, D width, E output width.
"""

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.part import Part
from unimodal.tokens import Tokens

__all__ = ["Perceptron"]


class Perceptron(nn.Module):
    """h_0 = pool(x);  h_i = dropout(relu(bn(W_i h_(i-1) + b_i)));  z = W h_n + b.

    Args:
        dim: Width D.
        pool: A readout. Its vector has the width that its attribute ``width`` says, or D.
        hidden: Widths of the hidden layers.
        width: Output width E of the last map, or None for no map: z = h_n.
        dropout: Probability that a hidden value is dropped while training.

    Shapes:
        tokens: S sequences of width D;  returns (S, E).

    Raises:
        ValueError: ``hidden`` is empty, or ``dropout`` is outside [0, 1).
    """

    def __init__(
        self,
        dim: int,
        *,
        pool: Part,
        hidden: tuple[int, ...] = (256, 256),
        width: int | None = None,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if not hidden:
            raise ValueError("hidden must have at least one width; a map without hidden layers is a Head")
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout is a probability below 1, not {dropout}")
        self.pool, self.dropout = pool(dim), dropout
        before = (getattr(self.pool, "width", dim), *hidden)
        self.maps = nn.ModuleList(nn.Linear(a, b) for a, b in zip(before, hidden, strict=False))
        self.norms = nn.ModuleList(nn.BatchNorm1d(b) for b in hidden)
        self.project = nn.Linear(hidden[-1], width) if width is not None else None
        self.width = hidden[-1] if width is None else width

    def forward(self, tokens: Tokens) -> Tensor:
        h = self.pool(tokens)
        for layer, norm in zip(self.maps, self.norms, strict=True):
            h = F.dropout(norm(layer(h)).relu(), self.dropout, self.training)
        return h if self.project is None else self.project(h)
