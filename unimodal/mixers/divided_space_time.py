"""Divided space-time attention: a token of a clip talks to its own place over time, or to its own moment over space.

Source: Bertasius et al. 2021, arXiv:2102.05095, sec. 3, "divided space-time attention" (T+S); class token over the
frames: the paper's released code, github.com/facebookresearch/TimeSformer.
Axes: B rows, N tokens, R prefix tokens, T frames, P places of a frame, D width.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.attention.softmax import SoftmaxAttention
from unimodal.mixers.full import Full
from unimodal.part import Part
from unimodal.side import Side
from unimodal.tokens import Tokens

__all__ = ["DividedSpaceTime"]


class DividedSpaceTime(nn.Module):
    """One half of the pair: attention among tokens that differ in time only, or in place only.

        time    y[t, p] = attention of x[t, p] to x[1 .. T, p];             prefix tokens get 0
        space   y[t, p] = attention of x[t, p] to prefix and x[t, 1 .. P];  y[prefix] = mean over t of the same

    The lattice's first axis is time and all others are space. The paper's block is two blocks here: the first over
    time and without a feed-forward, the second over space and with one, each with its own norm and residual. The
    paper also lets tokens attend to the class token over time; its released code does not, and neither do we. The
    code's second linear map behind the attention over time is one map together with the first.

    Args:
        dim: Width D.
        heads: Attention heads.
        over: ``time`` or ``space``.
        bias: Whether queries, keys and values have a bias.
        attention: The attention rule.

    Shapes:
        x: (B, N, D), N = R + T P;  returns (B, N, D).

    Raises:
        ValueError: ``over`` is neither, the side has no lattice, or a mask, bias, memory or causal order is set.

    Cost: O(N (T or P) D) instead of O(N N D).
    """

    def __init__(
        self,
        dim: int,
        *,
        heads: int,
        over: str = "time",
        bias: bool = True,
        attention: Part = Part(SoftmaxAttention),
    ) -> None:
        super().__init__()
        if over not in ("time", "space"):
            raise ValueError(f"over must be 'time' or 'space', not {over!r}")
        self.over = over
        self.full = Full(dim, heads=heads, bias=bias, attention=attention)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        side.honour("lengths", "cu_seqlens")
        along = self._along_time if self.over == "time" else self._along_space
        if side.grid is not None and side.lengths is None and side.cu_seqlens is None:
            return along(x, side.grid[0], side.prefix)
        tokens = Tokens(x, side)
        lattices = side.lattices(tokens.sequences)
        rows = [along(row[None], grid[0], side.prefix)[0] for row, grid in zip(tokens.split(), lattices, strict=True)]
        if side.cu_seqlens is not None:
            return torch.cat(rows)[None]
        return torch.stack([torch.cat([row, row.new_zeros(x.shape[1] - len(row), x.shape[2])]) for row in rows])

    def _along_time(self, x: Tensor, frames: int, prefix: int) -> Tensor:
        x_BTPD = x[:, prefix:].unflatten(1, (frames, -1))
        y_BPTD = self.full(x_BTPD.transpose(1, 2).flatten(0, 1)).unflatten(0, (len(x), -1))
        return torch.cat([torch.zeros_like(x[:, :prefix]), y_BPTD.transpose(1, 2).flatten(1, 2)], 1)

    def _along_space(self, x: Tensor, frames: int, prefix: int) -> Tensor:
        x_BTPD = x[:, prefix:].unflatten(1, (frames, -1))
        prefix_BTRD = x[:, None, :prefix].expand(-1, frames, -1, -1)
        y_BTND = self.full(torch.cat([prefix_BTRD, x_BTPD], 2).flatten(0, 1)).unflatten(0, (-1, frames))
        return torch.cat([y_BTND[:, :, :prefix].mean(1), y_BTND[:, :, prefix:].flatten(1, 2)], 1)
