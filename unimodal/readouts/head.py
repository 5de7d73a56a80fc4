"""Head: a map behind another readout (a classifier's logits, a pooler).

Source: Dosovitskiy et al. 2020, arXiv:2010.11929, sec. 3.1 (a linear classification head on the class token); norm
behind an average: He et al. 2021, arXiv:2111.06377, appendix A.1.
Axes: S sequences, D width, E output width.
"""

import torch.nn as nn
from torch import Tensor

from unimodal.activation import activation as activation_named
from unimodal.part import Part
from unimodal.readouts.class_token import ClassToken
from unimodal.tokens import Tokens

__all__ = ["Head"]


class Head(nn.Module):
    """z = act(W norm(pool(x)) + b), with what is None left out.

    ``model.readout.pool(tokens)`` gives the vector before the map, ``model.readout.mapped(z)`` what becomes of it.

    Args:
        dim: Width D.
        pool: A readout; the norm and the map are made for what it gives.
        norm: Norm behind the pooling, or None.
        width: Output width E, or None for no map.
        bias: Whether the map has a bias.
        activation: A name from :mod:`unimodal.activation`, or None.

    Shapes:
        tokens: S sequences of width D;  returns (S, E).

    Raises:
        ValueError: an unknown activation.
    """

    def __init__(
        self,
        dim: int,
        *,
        pool: Part = Part(ClassToken),
        norm: Part | None = None,
        width: int | None = None,
        bias: bool = True,
        activation: str | None = None,
    ) -> None:
        super().__init__()
        self.pool = pool(dim)
        pooled = getattr(self.pool, "width", dim)
        self.width = pooled if width is None else width
        self.norm = norm(pooled) if norm is not None else None
        self.project = nn.Linear(pooled, width, bias=bias) if width is not None else None
        self.activation = activation_named(activation) if activation is not None else None

    def forward(self, tokens: Tokens) -> Tensor:
        return self.mapped(self.pool(tokens))

    def mapped(self, z_SD: Tensor) -> Tensor:
        """What :meth:`forward` does behind the pooling."""
        z_SD = z_SD if self.norm is None else self.norm(z_SD)
        z_SE = z_SD if self.project is None else self.project(z_SD)
        return z_SE if self.activation is None else self.activation(z_SE)
