"""Squeeze and excitation: what a sequence holds on average opens and closes the channels of all its tokens.

Source: Hu et al. 2018, arXiv:1709.01507, eq. 2-4.
Axes: B rows, N tokens, D width, F hidden width.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.of_each_sequence import at_their_tokens, of_each_sequence
from unimodal.side import Side

__all__ = ["SqueezeExcitation"]


class SqueezeExcitation(nn.Module):
    """y_n = x_n sigmoid(W_2 relu(W_1 mean(x) + b_1) + b_2), the mean over a sequence's tokens.

    Tokens meet in D numbers only, so this costs next to nothing. Prefix tokens count as others; padding does not. The
    mean is taken in float32 or finer.

    Args:
        dim: Width D.
        hidden: F; None means a quarter of D, at least 1.

    Shapes:
        x: (B, N, D);  returns (B, N, D).

    Raises:
        ValueError: ``hidden`` is not positive; a mask, bias, memory or causal order is set (the mean sees all tokens).

    Cost: O(B N D).
    """

    def __init__(self, dim: int, *, hidden: int | None = None) -> None:
        super().__init__()
        hidden = max(1, dim // 4) if hidden is None else hidden
        if hidden < 1:
            raise ValueError(f"hidden must be positive, not {hidden}")
        self.to_hidden = nn.Linear(dim, hidden)
        self.to_gate = nn.Linear(hidden, dim)
        for layer in (self.to_hidden, self.to_gate):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        side.honour("lengths", "cu_seqlens")
        dtype = torch.promote_types(x.dtype, torch.float32)
        mean_SD = of_each_sequence(lambda x_SND: x_SND.mean(1, dtype=dtype), x, side).to(x.dtype)
        gate_SD = self.to_gate(self.to_hidden(mean_SD).relu()).sigmoid()
        return x * at_their_tokens(gate_SD, side)
