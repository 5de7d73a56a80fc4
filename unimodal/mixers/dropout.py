"""Dropout behind a mixer: numbers of its output are dropped at random while training.

Source: Vaswani et al. 2017, arXiv:1706.03762, sec. 5.4 (residual dropout); Srivastava et al. 2014, JMLR 15, sec. 4, in
the inverted form.
Axes: B rows, N tokens, D width.
"""

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.mixers.full import Full
from unimodal.part import Part
from unimodal.side import Side

__all__ = ["DropoutMixer"]


class DropoutMixer(nn.Module):
    """y = drop(mixer(x)); out of training, the mixer itself.

    Each number of a token is dropped by itself; to leave the branch out for a whole sequence is the block's
    ``drop_path``.

    Args:
        dim: Width D.
        mixer: Any mixer.
        rate: Probability that a number is dropped; the others are divided by 1 - rate.

    Shapes:
        x: (B, N, D);  returns (B, N, D).

    Raises:
        ValueError: a rate outside [0, 1); what the mixer refuses.
    """

    def __init__(self, dim: int, *, mixer: Part = Part(Full, heads=1), rate: float = 0.1) -> None:
        super().__init__()
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"rate is a probability below 1, not {rate}")
        self.mixer, self.rate = mixer(dim), rate

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        return F.dropout(self.mixer(x, side), self.rate, self.training)
