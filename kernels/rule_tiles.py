"""Attention under a rule in tiles of query rows that stay in the processor's cache, forward and backward.

Source: tiles and recomputed weights: Dao et al. 2022, arXiv:2205.14135, sec. 3.1; here a tile holds all keys that its
rows see, so that a softmax needs no second pass.
Axes: H heads (of a tile), N queries, M keys, K key width, V value width, R rows of a tile, O offsets.

A Toeplitz matrix is never made. Rows of a tile lie in reverse order, so that entry (r, m) of it is entry r + m of a
strip of its diagonals: a view with strides (1, 1). Causal order and windows are such strips of 0 and -inf. Sums over
diagonals come back the same way: with R columns of zeros behind each row, and read with rows one entry shorter, the
tile has its diagonals in columns.

Where the processor multiplies bfloat16 matrices, products are taken in it, from operands rounded to it; everything
between the products is float32.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from unimodal.kernels.rule import WEIGHTS, Rule, check_diagonals

__all__ = ["Terms", "backward", "forward"]

# 256 rows of 1024 keys: a megabyte in float32. Fewer rows for more keys, several heads for fewer. Where a tile's rows
# see different keys, the cells that none of them needs grow with the rows.
ROWS, BANDED_ROWS, FEWEST, CELLS = 256, 128, 16, 256 * 1024


@dataclass(frozen=True, eq=False)
class Terms:
    """The tensors of a call besides q, k and v: see :func:`unimodal.kernels.rule_attention.rule_attention`."""

    before: Tensor | None = None
    after: Tensor | None = None
    bias: Tensor | None = None
    mask: Tensor | None = None
    lengths: Tensor | None = None
    cu_seqlens: Tensor | None = None


@dataclass(frozen=True)
class _Span:
    """Queries that share their keys: query n of them stands at n + shift among the keys."""

    row: int
    queries: slice
    keys: slice
    shift: int

    @property
    def sizes(self) -> tuple[int, int]:
        return self.queries.stop - self.queries.start, self.keys.stop - self.keys.start


@dataclass(frozen=True)
class _Tile:
    """Heads, queries and keys (of the span) that are computed at once."""

    heads: slice
    queries: slice
    keys: slice
    shape: tuple[int, int, int]


def forward(q: Tensor, k: Tensor, v: Tensor, rule: Rule, terms: Terms) -> Tensor:
    """o (B, H, N, V); memory beside it: one tile, and copies of one row's keys and values."""
    out = v.new_zeros(*q.shape[:3], v.shape[3])
    for span in _spans(q, k, terms):
        work = _Work(q, k, v, rule, terms, span)
        for tile in work.tiles():
            weight = work.weights(tile, work.queries(tile))
            if terms.after is not None:
                weight.mul_(work.strip(work.after, tile))
            value = torch.bmm(work.narrowed(weight, tile), work.v_HMV[tile.heads, tile.keys])
            work.of_queries(out, tile).copy_(work.turned(value))
    return out


def backward(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, rule: Rule, terms: Terms, wanted: list[bool]
) -> list[Tensor | None]:
    """The gradients of q, k, v, before, after and bias; those of the last three where wanted, else None."""
    dtype = torch.promote_types(q.dtype, torch.float32)
    of_q, of_k, of_v = (torch.zeros_like(t, memory_format=torch.contiguous_format) for t in (q, k, v))
    learned = (terms.before, terms.after, terms.bias)
    of_before, of_after, of_bias = (
        None if t is None or not w else torch.zeros_like(t, dtype=dtype, memory_format=torch.contiguous_format)
        for t, w in zip(learned, wanted, strict=True)
    )
    for span in _spans(q, k, terms):
        work = _Work(q, k, v, rule, terms, span, buffers=4)
        of_k_HMK, of_v_HMV = (torch.zeros_like(t, dtype=dtype) for t in (work.k_HMK, work.v_HMV))
        for tile in work.tiles():
            q_HRK = work.queries(tile)
            grad_HRV = work.turned(work.of_queries(grad, tile).to(work.narrow))
            weight = work.weights(tile, q_HRK)
            of_weight = work.product(grad_HRV, work.v_HMV[tile.heads, tile.keys].mT, 2, tile)
            used = weight
            if terms.after is not None:
                strip = work.strip(work.after, tile)
                if of_after is not None:
                    torch.mul(weight, of_weight, out=work.wide(tile))
                    work.add_diagonals(of_after, tile)
                used = torch.mul(weight, strip, out=work.buffer(0, tile))
                of_weight.mul_(strip)
            work.add_product(of_v_HMV[tile.heads, tile.keys], work.narrowed(used, tile).mT, grad_HRV)
            of_logit = WEIGHTS[rule.weights].pull_back(of_weight, weight, work.buffer(0, tile))
            if of_before is not None:
                work.wide(tile).copy_(of_logit)
                work.add_diagonals(of_before, tile)
            if of_bias is not None:
                into = work.of_pairs(of_bias, tile)
                into.add_(_summed_to(work.turned(of_logit), into.shape))
            of_logit = work.narrowed(of_logit, tile)
            value = torch.bmm(of_logit, work.k_HMK[tile.heads, tile.keys]).mul_(work.scale)
            work.of_queries(of_q, tile).copy_(work.turned(value))
            work.add_product(of_k_HMK[tile.heads, tile.keys], of_logit.mT, q_HRK, work.scale)
        for whole, part in ((of_k, of_k_HMK), (of_v, of_v_HMV)):
            groups = part.unflatten(0, (whole.shape[1], -1)).sum(1)
            whole[span.row, :, span.keys].copy_(groups)
    return [of_q, of_k, of_v, of_before, of_after, of_bias]


class _Work:
    """One span's operands, its buffers and the views a tile needs of them."""

    def __init__(
        self, q: Tensor, k: Tensor, v: Tensor, rule: Rule, terms: Terms, span: _Span, buffers: int = 2
    ) -> None:
        self.rule, self.terms, self.span, self.q = rule, terms, span, q
        self.dtype, self.heads = torch.promote_types(q.dtype, torch.float32), q.shape[1]
        fast = q.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
        self.narrow = q.dtype if fast else self.dtype
        self.scale = q.shape[-1] ** -0.5 if rule.scale is None else rule.scale
        queries, keys = span.sizes
        longest = max(queries, queries + span.shift)
        check_diagonals(longest, before=terms.before, after=terms.after)
        own = (t[span.row, :, span.keys].repeat_interleave(self.heads // t.shape[1], dim=0) for t in (k, v))
        self.k_HMK, self.v_HMV = (t.to(self.narrow).contiguous() for t in own)
        level = -math.log(max(keys, 1)) if rule.level is None else rule.level
        self.level = torch.tensor(level, dtype=self.dtype, device=q.device)
        self.banded = rule.causal or rule.window is not None
        self.before = self._added(level, longest)
        self.after = None if terms.after is None else terms.after.to(self.dtype)
        self.reverse = self.before is not None or self.after is not None

        seen = keys if rule.window is None else min(keys, 2 * rule.window + BANDED_ROWS)
        most = BANDED_ROWS if self.banded else ROWS
        most = max(1, min(queries, most, max(FEWEST, CELLS // max(seen, 1))))
        self.rows = -(-queries // -(-queries // most)) if queries else 1  # tiles of nearly one size
        self.lanes = max(1, min(self.heads, CELLS // max(self.rows * seen, 1)))
        cells = self.lanes * self.rows * (keys + self.rows)
        self.held = [torch.empty(cells, dtype=self.dtype, device=q.device) for _ in range(buffers)]
        self.held_narrow = torch.empty(cells, dtype=self.narrow, device=q.device) if fast else None

    def _added(self, level: float, longest: int) -> Tensor | None:
        """The strip (H or 1, O) that is added to the logits: the Toeplitz bias, what is not seen, and the level."""
        before = self.terms.before
        if before is None and not self.banded:
            return None
        size = 2 * longest - 1 if before is None else before.shape[1]
        offset_O = torch.arange(size, device=self.q.device) - size // 2
        band_O = torch.full((1, size), level, dtype=self.dtype, device=self.q.device)
        if self.rule.causal:
            band_O.masked_fill_(offset_O > 0, float("-inf"))
        if self.rule.window is not None:
            band_O.masked_fill_(offset_O.abs() > self.rule.window, float("-inf"))
        return band_O if before is None else before.to(self.dtype) + band_O

    def tiles(self) -> Iterator[_Tile]:
        queries, keys = self.span.sizes
        for start in range(0, queries, self.rows):
            stop = min(start + self.rows, queries)
            first, last = 0, keys
            if self.rule.window is not None:
                first = max(0, start + self.span.shift - self.rule.window)
                last = min(last, stop + self.span.shift + self.rule.window)
            if self.rule.causal:
                last = min(last, stop + self.span.shift)
            if first >= last:
                continue  # no key is seen: the output and all gradients stay 0
            for lane in range(0, self.heads, self.lanes):
                heads = slice(lane, min(lane + self.lanes, self.heads))
                shape = (heads.stop - heads.start, stop - start, last - first)
                yield _Tile(heads, slice(start, stop), slice(first, last), shape)

    def weights(self, tile: _Tile, q_HRK: Tensor) -> Tensor:
        """The tile's weights, rows in reverse order where there are strips."""
        term = self.level if self.before is None else self.strip(self.before, tile)
        k_HKM, logit = self.k_HMK[tile.heads, tile.keys].mT, self.buffer(0, tile)
        if self.held_narrow is None:
            torch.baddbmm(term, q_HRK, k_HKM, alpha=self.scale, out=logit)
        else:
            torch.add(term, self.product(q_HRK, k_HKM, 0, tile), alpha=self.scale, out=logit)
        if self.terms.bias is not None:
            logit.add_(self.turned(self.of_pairs(self.terms.bias, tile)))
        if self.terms.mask is not None:
            logit.masked_fill_(self.turned(~self.of_pairs(self.terms.mask, tile)), float("-inf"))
        weights = WEIGHTS[self.rule.weights]
        if not weights.normalised or self._every_row_sees(tile):
            return weights.weigh(logit, self.buffer(1, tile))
        unseen = logit.amax(-1, keepdim=True) == float("-inf")
        return weights.weigh(logit, self.buffer(1, tile)).masked_fill_(unseen, 0.0)

    def _every_row_sees(self, tile: _Tile) -> bool:
        if self.terms.mask is not None or self.terms.bias is not None:
            return False
        within = tile.queries.start + self.span.shift >= 0
        return not self.banded or (within and tile.queries.stop + self.span.shift <= self.span.sizes[1])

    def queries(self, tile: _Tile) -> Tensor:
        return self.turned(self.of_queries(self.q, tile).to(self.narrow))

    def of_queries(self, whole: Tensor, tile: _Tile) -> Tensor:
        """The tile's rows of a tensor (B, H, N, ...)."""
        start = self.span.queries.start
        rows = slice(start + tile.queries.start, start + tile.queries.stop)
        return whole[self.span.row, tile.heads, rows]

    def of_pairs(self, whole: Tensor, tile: _Tile) -> Tensor:
        """The tile of a tensor that is broadcastable to (B, H, N, M): axes of size 1 stay as they are."""
        whole = whole[(None,) * (4 - whole.ndim)]
        row = self.span.row if whole.shape[0] > 1 else 0
        cut = (
            part if n > 1 else slice(None)
            for part, n in zip((tile.heads, tile.queries, tile.keys), whole.shape[1:], strict=True)
        )
        return whole[(row, *cut)]

    def turned(self, x: Tensor) -> Tensor:
        """Rows in reverse order, if this work has strips."""
        return x.flip(1) if self.reverse else x

    def buffer(self, index: int, tile: _Tile) -> Tensor:
        heads, rows, keys = tile.shape
        return self.held[index][: heads * rows * keys].view(tile.shape)

    def product(self, a: Tensor, b: Tensor, index: int, tile: _Tile) -> Tensor:
        """a b in a buffer, for what is done to the tile one by one."""
        out = self.buffer(index, tile)
        if self.held_narrow is None:
            return torch.bmm(a, b, out=out)
        return out.copy_(torch.bmm(a, b, out=self.held_narrow[: out.numel()].view_as(out)))

    def narrowed(self, x: Tensor, tile: _Tile) -> Tensor:
        """The tile as an operand of a product."""
        return x if self.held_narrow is None else self.held_narrow[: x.numel()].view(tile.shape).copy_(x)

    def add_product(self, into: Tensor, a: Tensor, b: Tensor, scale: float = 1.0) -> None:
        if self.held_narrow is None:
            into.baddbmm_(a, b, alpha=scale)
        else:
            into.add_(torch.bmm(a, b), alpha=scale)

    def wide(self, tile: _Tile) -> Tensor:
        """A buffer of the tile's shape, within one that has R columns of zeros behind it."""
        heads, rows, keys = tile.shape
        padded = self.held[3][: heads * rows * (keys + rows)].view(heads, rows, keys + rows)
        padded[..., keys:] = 0.0
        return padded[..., :keys]

    def strip(self, diagonals: Tensor | None, tile: _Tile) -> Tensor:
        """The tile of the Toeplitz matrix with these diagonals (H or 1, O), as a view."""
        assert diagonals is not None
        return self._entries(diagonals, tile).unfold(-1, tile.shape[2], 1)

    def add_diagonals(self, diagonals: Tensor, tile: _Tile) -> None:
        """Add the sums over the diagonals of what :meth:`wide` holds."""
        heads, rows, keys = tile.shape
        shorter = rows + keys - 1
        flat = self.held[3][: heads * rows * (keys + rows)].view(heads, -1)
        sums = flat[:, : rows * shorter].unflatten(1, (rows, shorter)).sum(1)
        into = self._entries(diagonals, tile)
        into.add_(_summed_to(sums, into.shape))

    def _entries(self, diagonals: Tensor, tile: _Tile) -> Tensor:
        own = diagonals[tile.heads] if diagonals.shape[0] > 1 else diagonals
        lowest = tile.keys.start - (tile.queries.stop - 1) - self.span.shift
        start = diagonals.shape[1] // 2 + lowest
        return own[:, start : start + tile.shape[1] + tile.shape[2] - 1]


def _spans(q: Tensor, k: Tensor, terms: Terms) -> list[_Span]:
    queries, keys = q.shape[2], k.shape[2]
    if terms.cu_seqlens is not None:
        pieces = [slice(start, stop) for start, stop in pairwise(terms.cu_seqlens.tolist())]
        return [_Span(0, piece, piece, 0) for piece in pieces if piece.stop > piece.start]
    lengths = [keys] * q.shape[0] if terms.lengths is None else terms.lengths.tolist()
    return [_Span(row, slice(0, queries), slice(0, n), keys - queries) for row, n in enumerate(lengths)]


def _summed_to(x: Tensor, shape: torch.Size) -> Tensor:
    axes = [i for i, (n, m) in enumerate(zip(x.shape, shape, strict=True)) if m == 1 and n > 1]
    return x.sum(axes, keepdim=True) if axes else x
