"""Mixture: sequences of several modalities joined into one sequence an input.

Source: Zhang et al. 2023, arXiv:2307.10802, sec. 3.2 (every modality's tokens in one space, in front of one encoder);
a vector that says which kind a token is of: Chen et al. 2019, arXiv:1909.11740, sec. 3.1.
Axes: N tokens of all inputs, D width, S inputs.
"""

from collections.abc import Sequence
from itertools import accumulate

import torch

from unimodal.side import Side
from unimodal.tokens import Tokens

__all__ = ["mixture"]


def mixture(parts: Sequence[Tokens], members: Sequence[Sequence[tuple[int, int]]], kinds: Sequence[int]) -> Tokens:
    """One packed row: for every input its sequences end to end, in the order in which ``members`` names them.

    An input may have any subset of the parts, and several sequences of one part. Nothing is padded, and nothing
    attends from one input to another. Where a token lies in its own modality was said before (position parts act on
    each part's lattice); the joined sequence has no lattice of its own.

    Args:
        parts: Tokens of one modality each, in any layout, without prefix.
        members: For each input its (part, sequence) pairs.
        kinds: A number for each part's modality; ``side.modality`` of the result holds it for every token.

    Shapes:
        returns (1, N, D) with cu_seqlens (S + 1,).

    Raises:
        ValueError: an input has no sequence, a part has a prefix, a mask, a bias or a memory, or only some parts are
            in causal order.
    """
    if not members or not all(members):
        empty = next((i for i, pairs in enumerate(members) if not pairs), "any")
        raise ValueError(f"input {empty} has no tokens: give every input at least one sample")
    names = [str(part.side.modality) for part in parts]
    orders = {part.side.causal for part in parts}
    if len(orders) > 1:
        causal = [name for name, part in zip(names, parts, strict=True) if part.side.causal]
        raise ValueError(f"{', '.join(causal)} in causal order cannot be mixed with modalities that are not")
    for name, part in zip(names, parts, strict=True):
        part.side.honour("causal", "lengths", "cu_seqlens")
        if part.side.prefix:
            raise ValueError(f"{name} has {part.side.prefix} prefix tokens: the prefix belongs in front of the mixture")
    rows = [part.split() for part in parts]
    chosen = [rows[part][sequence] for pairs in members for part, sequence in pairs]
    kind_of_each = [torch.full((len(rows[part][s]),), kinds[part]) for pairs in members for part, s in pairs]
    x = torch.cat(chosen)[None]
    lengths = [sum(len(rows[part][sequence]) for part, sequence in pairs) for pairs in members]
    ends = torch.tensor([0, *accumulate(lengths)], dtype=torch.int32, device=x.device)
    side = Side(modality=torch.cat(kind_of_each)[None].to(x.device), cu_seqlens=ends, causal=orders.pop())
    return Tokens(x, side)
