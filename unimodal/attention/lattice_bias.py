"""Lattice bias: a learned number for each head and offset on the lattice on the logits of any attention rule.

Source: Liu et al. 2021, arXiv:2103.14030, eq. 4 (there within a window of M x M cells).
Axes: B batch, H heads, G key heads, N tokens, K key width, V value width, S sequences of one lattice, R prefix tokens,
L lattice cells, O offsets.
"""

from functools import lru_cache, partial
from math import prod

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.attention.softmax import SoftmaxAttention
from unimodal.by_lattice import by_lattice
from unimodal.part import Part
from unimodal.side import Side

__all__ = ["LatticeBias"]


class LatticeBias(nn.Module):
    """o = attention(q, k, v) with B on its logits, B_nm = table[p_n - p_m], p_n the place of token n.

    An axis of M cells has the offsets -(M - 1) .. M - 1, so the table has prod(2 M - 1) rows in C order and a column a
    head, as in the paper's code. Larger lattices share the outermost numbers, axis by axis; smaller ones use the inner
    ones. Prefix tokens stand nowhere: pairs with them get 0. A 1-D sequence has
    :class:`~unimodal.attention.relative_bias.RelativeBiasAttention`, which never makes B.

    Args:
        heads: Query heads H.
        window: M along each axis (cells); one number for two axes.
        attention: The attention rule; it must take a bias.

    Shapes:
        q: (B, H, N, K);  k: (B, G, N, K);  v: (B, G, N, V), H a multiple of G;  returns (B, H, N, V).

    Raises:
        ValueError: ``window`` is not positive; q has another number of heads; keys are not as many as queries; the side
            has no lattice with as many axes; a memory is set; a mask or bias comes with a padded or packed batch; what
            the attention rule refuses.

    Cost: that of the attention rule and O(H N^2) memory for B, which is made once a call.
    """

    def __init__(
        self, *, heads: int, window: int | tuple[int, ...] = 7, attention: Part = Part(SoftmaxAttention)
    ) -> None:
        super().__init__()
        self.window = (window, window) if isinstance(window, int) else tuple(window)
        if not self.window or min(self.window) < 1:
            raise ValueError(f"window is a number of cells along each axis, at least 1, not {window}")
        self.table = nn.Parameter(torch.empty(prod(2 * m - 1 for m in self.window), heads))
        nn.init.trunc_normal_(self.table, std=0.02)
        self.attention = attention()

    def forward(self, q: Tensor, k: Tensor, v: Tensor, side: Side = Side()) -> Tensor:
        if q.shape[1] != self.table.shape[1] or q.shape[2] != k.shape[2]:
            said = f"q {tuple(q.shape)}, k {tuple(k.shape)}"
            raise ValueError(f"heads is {self.table.shape[1]}, and tokens of one lattice attend to one another: {said}")
        if side.grid is None or side.lengths is not None:
            side.honour("causal", "lengths", "cu_seqlens")
            own = Side(prefix=side.prefix, causal=side.causal)
            turned = (t.transpose(1, 2) for t in (q, k, v))
            return by_lattice(partial(self._of_group, own), side, *turned).transpose(1, 2)
        side.honour("mask", "bias", "causal")
        bias_HNN = self.bias(side.grid, side.prefix)
        if bias_HNN.shape[-1] != q.shape[2]:
            raise ValueError(f"the lattice {side.grid} behind {side.prefix} prefix tokens has not {q.shape[2]} tokens")
        bias = bias_HNN.to(q.dtype)[None] if side.bias is None else side.bias + bias_HNN.to(q.dtype)
        return self.attention(q, k, v, side.replace(bias=bias))

    def bias(self, grid: tuple[int, ...], prefix: int = 0) -> Tensor:
        """B (H, R + L, R + L) of a lattice.

        Raises:
            ValueError: the lattice has another number of axes than the window.
        """
        if len(grid) != len(self.window):
            raise ValueError(f"the window {self.window} needs a lattice with as many axes, not {grid}")
        offsets_LL = torch.from_numpy(_rows(tuple(grid), self.window)).to(self.table.device)
        bias_HLL = self.table.mT.index_select(1, offsets_LL).unflatten(1, (prod(grid), -1))
        return F.pad(bias_HLL, (prefix, 0, prefix, 0)) if prefix else bias_HLL

    def _of_group(self, side: Side, grid: tuple[int, ...], *qkv_SNHK: Tensor) -> Tensor:
        q, k, v = (t.transpose(1, 2) for t in qkv_SNHK)
        return self(q, k, v, side.replace(grid=grid)).transpose(1, 2)


@torch.compiler.assume_constant_result
def _rows(grid: tuple[int, ...], window: tuple[int, ...]) -> np.ndarray:
    return _offsets(grid, window)


@lru_cache(maxsize=64)
def _offsets(grid: tuple[int, ...], window: tuple[int, ...]) -> np.ndarray:
    """The table's row for each pair of cells, (L L,)."""
    places = np.stack(np.meshgrid(*(np.arange(n) for n in grid), indexing="ij"), -1).reshape(-1, len(grid))
    reach = np.array(window) - 1
    apart = np.clip(places[:, None] - places[None], -reach, reach) + reach
    return np.ravel_multi_index(tuple(np.moveaxis(apart, -1, 0)), [2 * m - 1 for m in window]).ravel()
