"""Toeplitz tables: one learned number a head and offset between two tokens, read for sequences of any length.

Source: Luo et al. 2022, arXiv:2205.13401, sec. 4 (2 L - 1 numbers a head instead of L x L); the same number beyond a
largest offset: Shaw et al. 2018, arXiv:1803.02155, sec. 3.2.
Axes: H heads, O offsets.
"""

import torch
from torch import Tensor

__all__ = ["diagonals"]


def diagonals(table: Tensor, tokens: int) -> Tensor:
    """The diagonals of the Toeplitz matrices of ``tokens`` tokens, offsets -(tokens - 1) to tokens - 1.

    Args:
        table: Numbers of the offsets -(L - 1) to L - 1; the outermost ones stand for everything beyond.
        tokens: Of the longest sequence; no tokens have the one diagonal of one.

    Shapes:
        table: (H, 2 L - 1);  returns (H, 2 tokens - 1).
    """
    tokens = max(tokens, 1)
    reach = table.shape[1] // 2
    offset_O = torch.arange(1 - tokens, tokens, device=table.device)
    return table.index_select(1, offset_O.clamp(-reach, reach) + reach)
