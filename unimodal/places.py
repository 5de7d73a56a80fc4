"""Places: where each token of a batch stands in its own sequence, in any layout.

Axes: N tokens of a row.
"""

import torch
from torch import Tensor

from unimodal.side import Side

__all__ = ["places"]


def places(side: Side, tokens: int, device: torch.device) -> Tensor:
    """0, 1, 2, ... from the beginning of each sequence; below ``side.prefix`` it is a prefix token.

    Args:
        side: Of the batch.
        tokens: N.
        device: Of the result.

    Shapes:
        returns int64 (1, N): rows of one layout have the same places, and a packed batch has one row.
    """
    index_N = torch.arange(tokens, device=device)
    if side.cu_seqlens is None:
        return index_N[None]
    ends = side.cu_seqlens.long()
    starts_N = ends[:-1].repeat_interleave(ends.diff(), output_size=tokens)
    return (index_N - starts_N)[None]
