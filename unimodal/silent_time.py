"""Silent time: attention over time that says nothing at first, so that a model of pictures can grow into one of clips.

Source: Li et al. 2022, arXiv:2201.04676, and its code github.com/Sense-X/UniFormer,
video_classification/slowfast/models/uniformer.py (SplitSABlock and the initial values of its t_attn).
Axes: B rows, N tokens, D width.
"""

import torch.nn as nn

from unimodal.mixers.divided_space_time import DividedSpaceTime

__all__ = ["silent_time"]


def silent_time(dim: int, *, heads: int, bias: bool = True) -> DividedSpaceTime:
    """A :class:`~unimodal.mixers.divided_space_time.DividedSpaceTime` over time whose outputs are 0 before training.

    Queries, keys and values begin at 0 and the map behind them at 1: were that one 0 too, neither of the two would
    have a gradient.

    Args:
        dim: Width D.
        heads: Attention heads.
        bias: Whether queries, keys and values have a bias.

    Shapes:
        x: (B, N, D);  returns (B, N, D).
    """
    made = DividedSpaceTime(dim, heads=heads, over="time", bias=bias)
    nn.init.zeros_(made.full.to_qkv.weight)
    nn.init.ones_(made.full.to_out.weight)
    for layer in (made.full.to_qkv, made.full.to_out):
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
    return made
