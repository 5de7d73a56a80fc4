"""Merging: attention over two disjoint sets of keys becomes attention over both, exactly.

Source: Liu et al. 2023, arXiv:2310.01889 (ring attention); the rescaling: Milakov & Gimelshein 2018, arXiv:1805.02867,
sec. 3.1.
Axes: B batch, H heads, N queries, V value width.
"""

import torch
from torch import Tensor

__all__ = ["merge"]


def merge(o1: Tensor, lse1: Tensor, o2: Tensor, lse2: Tensor) -> tuple[Tensor, Tensor]:
    """o = (e^lse1 o1 + e^lse2 o2) / (e^lse1 + e^lse2) and lse = log(e^lse1 + e^lse2), for softmax weights.

    Outputs under weights that are not normalised (sigmoid) are merged by adding them.

    Args:
        lse1: Log-sum-exp of the logits of o1's keys, natural log; -inf where there is no key, whose output is not used.
        lse2: The same of o2's keys.

    Shapes:
        o1, o2: (B, H, N, V);  lse1, lse2: (B, H, N);  returns (B, H, N, V) in o1's dtype and (B, H, N).

    Raises:
        ValueError: shapes that do not fit together.
    """
    if o1.shape != o2.shape or lse1.shape != lse2.shape or o1.shape[:-1] != lse1.shape:
        shapes = ", ".join(str(tuple(t.shape)) for t in (o1, lse1, o2, lse2))
        raise ValueError(f"o1, o2 have the axes (B, H, N, V) and lse1, lse2 (B, H, N), not {shapes}")
    lse = torch.logaddexp(lse1, lse2)
    empty = lse == float("-inf")
    safe = lse.masked_fill(empty, 0.0)
    parts = [
        torch.where((one == float("-inf"))[..., None], 0.0, (one - safe).exp()[..., None] * o)
        for o, one in ((o1, lse1), (o2, lse2))
    ]
    return (parts[0] + parts[1]).to(o1.dtype), lse
