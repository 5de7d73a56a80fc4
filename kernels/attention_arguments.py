"""Attention arguments: what every fused attention refuses alike.

Axes: B batch, H heads, G key heads, N queries, M keys.
"""

import torch
from torch import Tensor

from unimodal.kernels.rule import check_diagonals

__all__ = ["check_arguments"]


def check_arguments(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    cu_seqlens: Tensor | None,
    before: Tensor | None = None,
    after: Tensor | None = None,
    **terms: Tensor | None,
) -> None:
    """Refuse arguments that do not fit together.

    Args:
        terms: Those of ``mask``, ``bias`` and ``lengths`` that the operator takes, given or None.

    Raises:
        ValueError: heads do not divide; the mask is not boolean; mask or bias do not broadcast to (B, H, N, M); a
            packed batch comes with a mask, a bias, lengths, more than one row or another number of keys than queries;
            or Toeplitz terms have not the axes (H or 1, an odd number of diagonals), or too few of them.
    """
    if q.shape[1] % k.shape[1] or k.shape[1] != v.shape[1]:
        raise ValueError(
            f"{q.shape[1]} query heads are not a multiple of {k.shape[1]} key and {v.shape[1]} value heads"
        )
    mask = terms.get("mask")
    if mask is not None and mask.dtype != torch.bool:
        raise ValueError(f"mask must be boolean (True = may attend), not {mask.dtype}")
    to = (*q.shape[:3], k.shape[2])
    for name in ("mask", "bias"):
        if (term := terms.get(name)) is None:
            continue
        if term.ndim > 4 or any(n not in (1, m) for n, m in zip(term.shape[::-1], to[::-1], strict=False)):
            raise ValueError(f"{name} {tuple(term.shape)} does not broadcast to (B, H, N, M) = {to}")
    if cu_seqlens is not None:
        if q.shape[0] != 1 or q.shape[2] != k.shape[2]:
            raise ValueError("a packed batch has one row and as many keys as queries")
        if any(term is not None for term in terms.values()):
            *others, last = (f"no {name}" for name in terms)
            words = f"{', '.join(others)} and {last}" if others else last
            raise ValueError(f"a packed batch takes {words}: their axes span the sequences")
    for name, term in (("before", before), ("after", after)):
        if term is None:
            continue
        if term.ndim != 2 or term.shape[0] not in (1, q.shape[1]) or term.shape[1] % 2 == 0:
            raise ValueError(f"{name} has the axes (heads or 1, an odd number of offsets), not {tuple(term.shape)}")
    # Each packed sequence has its own length, which the implementation reads and checks.
    check_diagonals(1 if cu_seqlens is not None else max(to[2:]), before=before, after=after)
