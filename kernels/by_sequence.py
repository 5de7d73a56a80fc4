"""By sequence: apply an attention to each sequence of a packed batch by itself, and lay the outputs end to end.

Axes: H heads, G key heads, N tokens of all sequences, K key width, V value width, S sequences.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

__all__ = ["by_sequence"]


def by_sequence(
    run: Callable[[Tensor, Tensor, Tensor], Tensor], q: Tensor, k: Tensor, v: Tensor, cu_seqlens: Tensor
) -> Tensor:
    """``run(q, k, v)`` of each sequence, end to end.

    Args:
        run: An attention of one sequence.
        cu_seqlens: (S + 1,) boundaries, which are read from the device.

    Shapes:
        q: (1, H, N, K);  k: (1, G, N, K);  v: (1, G, N, V);  returns (1, H, N, V); without sequences zeros.
    """
    spans = [slice(start, stop) for start, stop in pairwise(cu_seqlens.tolist())]
    pieces = [run(q[:, :, s], k[:, :, s], v[:, :, s]) for s in spans]
    return torch.cat(pieces, dim=2) if pieces else v.new_zeros(*q.shape[:3], v.shape[3])
