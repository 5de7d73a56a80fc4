"""Stochastic depth: leave a residual branch out for some sequences while training.

Source: Huang et al. 2016, arXiv:1603.09382, eq. 2; scaling the kept branches instead of the test-time ones
(inverted form) keeps the expectation without touching inference.
Axes: B rows, N tokens, D width, S sequences.
"""

from torch import Tensor

from unimodal.side import Side

__all__ = ["drop_path"]


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
