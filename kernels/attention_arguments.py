"""Attention arguments: what every fused attention refuses alike.

Axes: B batch, H heads, G key heads, N queries, M keys.
"""

import torch
from torch import Tensor

__all__ = ["check_arguments"]


def check_arguments(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    mask: Tensor | None,
    bias: Tensor | None,
    lengths: Tensor | None,
    cu_seqlens: Tensor | None,
) -> None:
    """Refuse arguments that do not fit together.

    Raises:
        ValueError: heads do not divide; the mask is not boolean; mask or bias do not broadcast to (B, H, N, M); or a
            packed batch comes with a mask, a bias, lengths, more than one row or another number of keys than queries.
    """
    if q.shape[1] % k.shape[1] or k.shape[1] != v.shape[1]:
        raise ValueError(
            f"{q.shape[1]} query heads are not a multiple of {k.shape[1]} key and {v.shape[1]} value heads"
        )
    if mask is not None and mask.dtype != torch.bool:
        raise ValueError(f"mask must be boolean (True = may attend), not {mask.dtype}")
    to = (*q.shape[:3], k.shape[2])
    for name, term in (("mask", mask), ("bias", bias)):
        if term is None:
            continue
        if term.ndim > 4 or any(n not in (1, m) for n, m in zip(term.shape[::-1], to[::-1], strict=False)):
            raise ValueError(f"{name} {tuple(term.shape)} does not broadcast to (B, H, N, M) = {to}")
    if cu_seqlens is not None:
        if q.shape[0] != 1 or q.shape[2] != k.shape[2]:
            raise ValueError("a packed batch has one row and as many keys as queries")
        if mask is not None or bias is not None or lengths is not None:
            raise ValueError("a packed batch takes no mask, no bias and no lengths: their axes span the sequences")
