"""Convolutional positions: a wide convolution along the sequence tells each token what stands around it.

Source: Baevski et al. 2020, arXiv:2006.11477, sec. 2 (kernel 128, 16 groups); Mohamed et al. 2019, arXiv:1904.11660.
Axes: B batch, N tokens, D width.
"""

import math

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.masks import keys_within
from unimodal.side import Side
from unimodal.tokens import Tokens

__all__ = ["Convolutional"]


class Convolutional(nn.Module):
    """y_n = x_n + gelu(b + sum_k W_k x_(n + k - K // 2)), x = 0 outside of the sequence.

    Positions are relative, so a sequence may have any length; only near its ends does a token see where it is. The
    tokens are taken in their order, whatever their lattice; prefix tokens get nothing and give nothing. Published
    models store W as a direction and a length for each k, whose product is taken here.

    Args:
        dim: Width D.
        kernel: K, in tokens.
        groups: Groups of channels that do not see one another; they divide D.

    Shapes:
        x: (B, N, D);  returns (B, N, D).

    Raises:
        ValueError: causal order, a mask, bias or memory is set: the convolution sees what follows.

    Cost: O(B N K D^2 / groups).
    """

    applies_to = "tokens"

    def __init__(self, dim: int, *, kernel: int = 128, groups: int = 8) -> None:
        super().__init__()
        self.around = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=groups)
        nn.init.normal_(self.around.weight, std=math.sqrt(4.0 / (kernel * dim)))
        nn.init.zeros_(self.around.bias)  # pyright: ignore[reportArgumentType]

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        side.honour("lengths", "cu_seqlens")
        rows = Tokens(x, side).padded()
        h_BND, prefix, lengths = rows.x[:, side.prefix :], side.prefix, rows.side.lengths
        tokens = h_BND.shape[1]
        if lengths is not None:
            h_BND = h_BND.masked_fill(~keys_within(lengths - prefix, tokens)[:, 0, 0, :, None], 0.0)
        around_BND = F.gelu(self.around(h_BND.mT)[..., :tokens]).mT
        y = rows.replace(rows.x + F.pad(around_BND, (0, 0, prefix, 0)))
        return y.x if side.cu_seqlens is None else y.packed().x
