"""Leading readout: another readout of the first channels of each token.

Source: tokens that carry their words behind themselves: Han et al. 2021, arXiv:2103.00112, sec. 2.2 (the sentences'
class token is classified).
Axes: S sequences, D width, W channels in front, E output width.
"""

import torch.nn as nn
from torch import Tensor

from unimodal.part import Part
from unimodal.readouts.mean import Mean
from unimodal.tokens import Tokens

__all__ = ["LeadingReadout"]


class LeadingReadout(nn.Module):
    """z = readout(x_1 .. x_W).

    Args:
        dim: Width D.
        width: W; None for all.
        readout: A readout of width W.

    Shapes:
        tokens: S sequences of width D;  returns (S, E).

    Raises:
        ValueError: ``width`` is not in 1 .. D; what the readout refuses.
    """

    def __init__(self, dim: int, *, width: int | None = None, readout: Part = Part(Mean)) -> None:
        super().__init__()
        self.kept = dim if width is None else width
        if not 0 < self.kept <= dim:
            raise ValueError(f"width must be in 1..{dim}, not {width}")
        self.readout = readout(self.kept)
        self.width = getattr(self.readout, "width", self.kept)

    def forward(self, tokens: Tokens) -> Tensor:
        return self.readout(tokens.replace(tokens.x[..., : self.kept]))
