"""Neighbours: for each embedding those of the other inputs that point the same way (lattice points in space are
:mod:`unimodal.nearest_neighbours`).

Source: the mean taken off first, Mu and Viswanath 2018, arXiv:1702.01417.
Axes: N embeddings, E their width, Q of them asked about.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["neighbours"]

ROWS = 1024  # compared with all at once


def neighbours(
    vectors: Tensor, *, kinds: Sequence[str] | None = None, of: Sequence[int] | None = None, count: int = 5
) -> list[list[tuple[int, float]]]:
    """The ``count`` largest cosines of v_i - m and v_j - m, j other than i; m is the mean of all that are compared.

    Embeddings of one encoder share a large part that says nothing about the input, so that without its mean taken off
    every cosine is near one. With few inputs cosines are low (two alone have -1): their order counts, not their size.
    An embedding that is the mean itself has cosine 0 with all others.

    Args:
        vectors: The embeddings.
        kinds: A word each (its modality): only equal ones are compared. None compares all with all.
        of: Places of the embeddings asked about; None asks about all.
        count: Most neighbours of each.

    Shapes:
        vectors: (N, E);  returns Q lists of (place, cosine), nearest first; fewer than ``count``, or none, where there
            are not as many others of the kind.

    Raises:
        ValueError: ``vectors`` has not two axes or is not finite, ``kinds`` has another length, ``of`` names a place
            that is not there, or ``count`` is not positive.

    Cost: O(Q N E) time, O(N) memory beside the embeddings.
    """
    if vectors.ndim != 2:
        raise ValueError(f"vectors must be (N, E), not {tuple(vectors.shape)}")
    if not bool(vectors.isfinite().all()):
        raise ValueError("vectors must be finite")
    if kinds is not None and len(kinds) != len(vectors):
        raise ValueError(f"kinds must have a word for each of {len(vectors)} vectors, not {len(kinds)}")
    if count < 1:
        raise ValueError(f"count must be positive, not {count}")
    asked = list(range(len(vectors)) if of is None else of)
    if wrong := [place for place in asked if not 0 <= place < len(vectors)]:
        raise ValueError(f"of must name places from 0 to {len(vectors) - 1}, not {wrong[0]}")
    kinds = [""] * len(vectors) if kinds is None else kinds
    found: dict[int, list[tuple[int, float]]] = {}
    for kind in dict.fromkeys(kinds[place] for place in asked):
        members = [place for place, word in enumerate(kinds) if word == kind]
        own = {place: row for row, place in enumerate(members)}
        unit_NE = F.normalize(_centred(vectors[members]), dim=-1)
        rows = [own[place] for place in asked if kinds[place] == kind]
        for begin in range(0, len(rows), ROWS):
            part = rows[begin : begin + ROWS]
            alike_QN = unit_NE[part] @ unit_NE.mT
            alike_QN[range(len(part)), part] = -torch.inf
            values, places = alike_QN.topk(min(count, len(members) - 1))
            for row, of_row, at_row in zip(part, values.tolist(), places.tolist(), strict=True):
                found[members[row]] = [
                    (members[j], min(1.0, max(-1.0, v))) for j, v in zip(at_row, of_row, strict=True)
                ]
    return [found[place] for place in asked]


def _centred(vectors: Tensor) -> Tensor:
    """Without their mean, in float32 at least; what is left of rounding where all are the same counts as nothing."""
    x_NE = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    gap_NE = x_NE - x_NE.mean(0)
    tiny = 8 * torch.finfo(x_NE.dtype).eps * x_NE.norm(dim=-1, keepdim=True)
    return torch.where(gap_NE.norm(dim=-1, keepdim=True) > tiny, gap_NE, 0.0)
