"""Masks: boolean, True = may attend, broadcastable to (batch, heads, queries, keys)."""

import torch
from torch import Tensor

__all__ = ["keys_within"]


def keys_within(lengths: Tensor, keys: int) -> Tensor:
    """The mask (B, 1, 1, keys) that allows the first ``lengths[b]`` keys of row b."""
    return (torch.arange(keys, device=lengths.device) < lengths[:, None])[:, None, None]
