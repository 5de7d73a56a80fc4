"""Selected: some of each sequence's tokens, without a trace of the others.

Source: what a masked autoencoder's encoder sees: He et al. 2021, arXiv:2111.06377, sec. 3.
Axes: S sequences, R prefix tokens, K_s selected tokens of a sequence, P selected in all, N with prefixes, D width.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from unimodal.tokens import Tokens

__all__ = ["selected"]


def selected(tokens: Tokens, places: Sequence[Tensor] | Tensor) -> Tokens:
    """The prefix and the tokens at ``places`` of each sequence, in the order given; packed, and without a lattice.

    Their cost in the core is that of a sequence of R + K_s tokens. Positions, sizes and kinds that were given token by
    token stay with their tokens.

    Args:
        tokens: In any layout.
        places: For each sequence the places (K_s,) among its tokens behind the prefix.

    Shapes:
        returns (1, sum_s (R + K_s), D) with cu_seqlens (S + 1,); ``.padded()`` gives rows.

    Raises:
        ValueError: there are not as many lists of places as sequences, a sequence has no token at one of its places,
            or a mask, bias or memory is set.
    """
    packed = tokens.packed()
    cu, prefix = packed.side.cu_seqlens, packed.side.prefix
    assert cu is not None  # packed() sets it
    if len(places) != packed.sequences:
        raise ValueError(f"places has {len(places)} lists for {packed.sequences} sequences")
    device, lengths_S = packed.x.device, cu.diff().long()
    counts_S = torch.tensor([len(place) for place in places], device=device)
    place_P = torch.cat([*places]).to(device)
    room_P = (lengths_S - prefix).repeat_interleave(counts_S)
    if (outside := (place_P < 0) | (place_P >= room_P)).any():
        wrong, room = (int(value[outside][0]) for value in (place_P, room_P))
        raise ValueError(f"places of a sequence of {room} tokens must be in 0..{room - 1}, not {wrong}")
    ends = F.pad((prefix + counts_S).cumsum(0), (1, 0))
    owner_N = torch.arange(len(counts_S), device=device).repeat_interleave(prefix + counts_S)
    all_N = torch.arange(len(owner_N), device=device)
    own_N, before_N = all_N - ends[owner_N], prefix * (owner_N + 1)
    chosen_N = prefix + F.pad(place_P, (0, 1))[(all_N - before_N).clamp(min=0)]
    index = cu[owner_N].long() + torch.where(own_N < prefix, own_N, chosen_N)
    changes = {
        name: value[:, index]
        for name in ("positions", "modality", "size", "score")
        if isinstance(value := getattr(packed.side, name), Tensor)
    }
    return packed.replace(packed.x[:, index], cu_seqlens=ends.to(torch.int32), grids=None, **changes)
