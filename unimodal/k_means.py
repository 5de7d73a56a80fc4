"""k-means: every token of the memory goes to one query, and a query is updated by the sum of what went to it.

Source: Yu et al. 2022, arXiv:2207.04044; released code: github.com/bytedance/kmax-deeplab,
kmax_deeplab/modeling/transformer_decoder/kmax_transformer_decoder.py.
Axes: B batch, N queries, M memory tokens, D width, K width of scores, V width of values.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.part import Part
from unimodal.side import Side

__all__ = ["KMeans"]


class KMeans(nn.Module):
    """y_n = W_o norm(sum of W_v m over the tokens m whose best query is n), best by the scores W_q x_n . W_k m.

    Softmax over thousands of tokens spreads each query thin; here every token counts once, for one query. The choice
    has no gradient, so W_q and W_k learn only from a loss on :meth:`scores`, as masks are: a decoder supervises them at
    every layer. Scaling a token's scores by what is positive changes no choice; lengths of keys and the norm of one
    channel that the released code puts on them belong to its masks. It is no mixer of tokens among themselves: queries
    compete, so what one may see moves tokens from the others.

    Args:
        dim: Width D of queries and memory.
        width: K; None means D.
        values: V; None means D.
        norm: Of the sums, whose size grows with how many tokens went to a query; or None.

    Shapes:
        x: (B, N, D);  side.memory.x: (B, M, D);  returns (B, N, D).
        side.mask: broadcastable to (B, 1, N, M), True = the token may go to the query; one that may go to none is lost.
        side.bias: broadcastable to (B, 1, N, M), added to the scores.

    Raises:
        ValueError: there is no memory; a mask or bias differs between heads; causal order or a packed layout is asked
            for, or the memory has constraints other than lengths.

    Cost: O(B N M K) for the scores and O(B M V) for the sums; backwards nothing of size N M is kept.
    """

    def __init__(
        self, dim: int, *, width: int | None = None, values: int | None = None, norm: Part | None = None
    ) -> None:
        super().__init__()
        width, values = dim if width is None else width, dim if values is None else values
        self.to_q, self.to_k = nn.Linear(dim, width, bias=False), nn.Linear(dim, width, bias=False)
        self.to_v = nn.Linear(dim, values, bias=False)
        self.norm = norm(values) if norm is not None else None
        self.to_out = nn.Linear(values, dim)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        with torch.no_grad():
            best_BM = self.scores(x, side).max(1)
            goes_BM = best_BM.values > float("-inf")
            row_BM = best_BM.indices + torch.arange(len(x), device=x.device)[:, None] * x.shape[1]
        v_BMV = self.to_v(_memory(side)).masked_fill(~goes_BM[..., None], 0.0)
        sums = v_BMV.new_zeros(x.shape[0] * x.shape[1], v_BMV.shape[-1])
        sums_BNV = sums.index_add(0, row_BM.flatten(), v_BMV.flatten(0, 1)).unflatten(0, x.shape[:2])
        return self.to_out(sums_BNV if self.norm is None else self.norm(sums_BNV))

    def scores(self, x: Tensor, side: Side = Side()) -> Tensor:
        """(B, N, M) by which each token of the memory chooses its query; -inf where it may not."""
        side.honour("mask", "bias", "memory", "lengths")
        scores_BNM = self.to_q(x) @ self.to_k(_memory(side)).mT
        shape = (len(x), 1, *scores_BNM.shape[1:])
        if side.bias is not None:
            scores_BNM = scores_BNM + _of_one_head(side.bias, shape, "bias")
        if side.mask is not None:
            scores_BNM = scores_BNM.masked_fill(~_of_one_head(side.mask, shape, "mask"), float("-inf"))
        if side.lengths is not None:
            scores_BNM = scores_BNM.masked_fill(_behind(side.lengths, shape[2])[:, :, None], float("-inf"))
        if side.memory is not None and (tokens := side.memory.side.lengths) is not None:
            scores_BNM = scores_BNM.masked_fill(_behind(tokens, shape[3])[:, None], float("-inf"))
        return scores_BNM


def _memory(side: Side) -> Tensor:
    if side.memory is None:
        raise ValueError("k-means needs a memory (side.memory) whose tokens choose among the queries")
    side.memory.side.honour("lengths")
    return side.memory.x


def _of_one_head(given: Tensor, shape: tuple[int, ...], name: str) -> Tensor:
    if given.ndim > 2 and given.shape[-3] != 1:
        raise ValueError(f"there are no heads here that side.{name} could differ between, and it has {given.shape[-3]}")
    return given.expand(shape)[:, 0]


def _behind(lengths: Tensor, count: int) -> Tensor:
    return torch.arange(count, device=lengths.device) >= lengths[:, None]
