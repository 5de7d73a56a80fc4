"""Stochastic depth: leave a residual branch out for some sequences while training.

Source: Huang et al. 2016, arXiv:1603.09382, eq. 2; scaling the kept branches instead of the test-time ones
(inverted form) keeps the expectation without touching inference.
Axes: B rows, N tokens, D width, S sequences.
"""

from collections.abc import Sequence

from torch import Tensor

from unimodal.side import Side

__all__ = ["drop_path", "ramp"]


def drop_path(branch: Tensor, rate: float, side: Side) -> Tensor:
    """Zero the branch (B, N, D) of each sequence with probability ``rate``; scale the others by 1 / (1 - rate).

    A packed batch draws once a sequence, as the padded one does once a row.
    """
    keep = 1.0 - rate
    if side.cu_seqlens is None:
        return branch * branch.new_empty(branch.shape[0], 1, 1).bernoulli_(keep) / keep
    lengths = side.cu_seqlens.diff()
    kept_S = branch.new_empty(len(lengths)).bernoulli_(keep) / keep
    return branch * kept_S.repeat_interleave(lengths)[None, :, None]


def ramp(depths: Sequence[int], rate: float) -> tuple[tuple[float, ...], ...]:
    """The rates of the blocks of stages of ``depths`` blocks: linear over all, from 0 to ``rate``."""
    last, firsts = max(sum(depths) - 1, 1), [sum(depths[:i]) for i in range(len(depths))]
    return tuple(tuple(rate * (first + i) / last for i in range(n)) for first, n in zip(firsts, depths, strict=True))
