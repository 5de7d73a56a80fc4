"""Of each sequence: reduce every sequence of a batch to one vector, and lay such vectors beside their tokens again.

Axes: B rows, N tokens, S sequences, D channels.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from unimodal.side import Side
from unimodal.tokens import Tokens

__all__ = ["at_their_tokens", "of_each_sequence"]


def of_each_sequence(reduce: Callable[[Tensor], Tensor], x: Tensor, side: Side) -> Tensor:
    """What ``reduce`` makes of each sequence's real tokens, prefix tokens included.

    Args:
        reduce: Maps (S, N, D) to (S, D); sequences of different lengths come to it one by one.
        side: Says how the batch is laid out.

    Shapes:
        x: (B, N, D);  returns (S, D).
    """
    if side.lengths is None and side.cu_seqlens is None:
        return reduce(x)
    return torch.cat([reduce(row[None]) for row in Tokens(x, side).split()])


def at_their_tokens(values_SD: Tensor, side: Side) -> Tensor:
    """Each sequence's vector where its tokens are, to be broadcast over a batch of the same layout.

    Shapes:
        values_SD: (S, D);  returns (B, 1, D), or (1, N, D) for a packed batch.
    """
    if side.cu_seqlens is None:
        return values_SD[:, None]
    return values_SD.repeat_interleave(side.cu_seqlens.diff(), 0)[None]
