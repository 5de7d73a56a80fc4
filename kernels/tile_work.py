"""The work of one span of an attention under a rule: how it is cut into tiles, and the views that a tile needs.

Source: tiles: Dao et al. 2022, arXiv:2205.14135, sec. 3.1.
Axes: H heads (of a tile), G key heads, N queries, M keys, K key width, V value width, R rows of a tile, O offsets.

A Toeplitz matrix is never made. Rows of a tile lie in reverse order, so that entry (r, m) of it is entry r + m of a
strip of its diagonals: a view with strides (1, 1). Causal order and windows are such strips of 0 and -inf, laid over
the columns that some rows see and others do not. Sums over diagonals come back the same way: with R columns of zeros
behind each row, and read with rows one entry shorter, the tile has its diagonals in columns.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from unimodal.kernels.rule import WEIGHTS, Rule, check_diagonals
from unimodal.kernels.tile_product import FUSED, one_head_at_a_time, product

__all__ = ["Span", "Terms", "Tile", "Work", "spans", "summed_to"]

# 256 rows of 1024 keys: a megabyte in float32. Fewer rows for more keys, several heads for fewer; twice the cells of
# half the size. Where a tile's rows see different keys, the cells that some do not need grow with its rows.
ROWS, CAUSAL_ROWS, WINDOW_ROWS, FEWEST, CELLS = 512, 256, 128, 32, 256 * 1024


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
class Span:
    """Queries that share their keys: query n of them stands at n + shift among the keys."""

    row: int
    queries: slice
    keys: slice
    shift: int

    @property
    def sizes(self) -> tuple[int, int]:
        return self.queries.stop - self.queries.start, self.keys.stop - self.keys.start


@dataclass(frozen=True)
class Tile:
    """Heads, queries and keys (of the span) that are computed at once."""

    heads: slice
    queries: slice
    keys: slice
    shape: tuple[int, int, int]


class Work:
    """One span's operands, its sizes and the views a tile needs of them."""

    def __init__(self, q: Tensor, k: Tensor, v: Tensor, rule: Rule, terms: Terms, span: Span) -> None:
        self.rule, self.terms, self.span, self.q = rule, terms, span, q
        self.dtype, self.heads = torch.promote_types(q.dtype, torch.float32), q.shape[1]
        fast = q.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
        self.narrow = q.dtype if fast else self.dtype
        self.scale = q.shape[-1] ** -0.5 if rule.scale is None else rule.scale
        queries, keys = span.sizes
        longest = max(queries, queries + span.shift, 1)
        check_diagonals(longest, before=terms.before, after=terms.after)
        self.banded = rule.causal or rule.window is not None
        self._cut(queries, keys)

        own = (t[span.row, :, span.keys].to(self.narrow).contiguous() for t in (k, v))
        self.group = self.heads // k.shape[1]
        self.k, self.v = (t if self.one_head else t.repeat_interleave(self.group, dim=0) for t in own)
        self.level = -math.log(max(keys, 1)) if rule.level is None else rule.level
        self.level_M = torch.full((keys,), self.level, dtype=self.dtype, device=q.device)
        self.band = self._band(longest) if self.banded else None
        self.kept = None if self.band is None else self.band.exp().to(self.narrow)
        self.before = None if terms.before is None else terms.before.to(self.dtype) + self.level
        self.after = None if terms.after is None else terms.after.to(self.dtype)
        if self.before is not None and self.band is not None:
            reach = (self.before.shape[1] - self.band.shape[1]) // 2
            self.before = self.before + F.pad(self.band, (reach, reach), value=float("-inf"))
        self.reverse = self.banded or self.before is not None or self.after is not None
        plain = self.before is None and terms.bias is None and terms.mask is None
        self.fused = rule.weights if self.one_head and plain and rule.weights in FUSED else None

    def _cut(self, queries: int, keys: int) -> None:
        """Rows and heads of a tile."""
        window, most = self.rule.window, CAUSAL_ROWS if self.rule.causal else ROWS
        if window is not None:
            most = WINDOW_ROWS
        seen = keys if window is None else min(keys, 2 * window + WINDOW_ROWS)
        cells = CELLS * (2 if self.narrow.itemsize == 2 else 1)
        most = max(1, min(queries, most, max(FEWEST, cells // max(seen, 1))))
        self.rows = -(-queries // -(-queries // most)) if queries else 1  # tiles of nearly one size
        self.one_head = self.q.device.type == "cpu" and one_head_at_a_time(self.narrow, self.rows * seen)
        self.lanes = 1 if self.one_head else max(1, min(self.heads, cells // max(self.rows * seen, 1)))

    def _band(self, longest: int) -> Tensor:
        """The strip (1, O) of 0 where a key is seen and -inf where not."""
        offset_O = torch.arange(1 - longest, longest, device=self.q.device)
        band_O = torch.zeros(1, len(offset_O), dtype=self.dtype, device=self.q.device)
        if self.rule.causal:
            band_O.masked_fill_(offset_O > 0, float("-inf"))
        if self.rule.window is not None:
            band_O.masked_fill_(offset_O.abs() > self.rule.window, float("-inf"))
        return band_O

    def tiles(self) -> Iterator[Tile]:
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
                yield Tile(heads, slice(start, stop), slice(first, last), shape)

    def weights(self, tile: Tile, q_HRK: Tensor, *, fused: bool = True) -> tuple[Tensor | None, Tensor]:
        """The tile's logits (None where they never were) and weights, rows in reverse order where there are strips."""
        k_HMK = self.of_keys(self.k, tile)
        if self.fused and fused:
            weight = product(q_HRK, k_HMK, one_head=True, bias=self.level_M[tile.keys], function=self.fused)
            for columns in self._edges(tile):
                weight[..., columns].mul_(self.strip(self.kept, tile, columns))
            return None, weight
        logit = self.product(q_HRK, k_HMK).to(self.dtype)
        weights = WEIGHTS[self.rule.weights]
        if self.before is not None:
            logit.add_(self.strip(self.before, tile))
        else:
            if self.level and not weights.normalised:
                logit.add_(self.level)
            for columns in self._edges(tile):
                logit[..., columns].add_(self.strip(self.band, tile, columns))
        if self.terms.bias is not None:
            logit.add_(self.turned(self.of_pairs(self.terms.bias, tile)))
        if self.terms.mask is not None:
            logit.masked_fill_(self.turned(~self.of_pairs(self.terms.mask, tile)), float("-inf"))
        weight = weights.weigh(logit, torch.empty_like(logit))
        if not weights.normalised or self._every_row_sees(tile):
            return logit, weight
        return logit, weight.masked_fill_(logit.amax(-1, keepdim=True) == float("-inf"), 0.0)

    def _edges(self, tile: Tile) -> list[slice]:
        """The columns of a tile that some of its rows see and others do not."""
        if self.band is None:
            return []
        window = self.rule.window
        first, last = tile.queries.start + self.span.shift, tile.queries.stop - 1 + self.span.shift
        low = 0 if window is None else last - window
        high = tile.keys.stop if window is None else first + window + 1
        if self.rule.causal:
            high = min(high, first + 1)
        low, high = (min(max(edge - tile.keys.start, 0), tile.shape[2]) for edge in (low, high))
        return [columns for columns in (slice(0, low), slice(high, tile.shape[2])) if columns.stop > columns.start]

    def _every_row_sees(self, tile: Tile) -> bool:
        if self.terms.mask is not None or self.terms.bias is not None:
            return False
        within = tile.queries.start + self.span.shift >= 0
        return not self.banded or (within and tile.queries.stop + self.span.shift <= self.span.sizes[1])

    def product(self, x_HRI: Tensor, w_HOI: Tensor) -> Tensor:
        return product(x_HRI, w_HOI, one_head=self.one_head)

    def queries(self, tile: Tile) -> Tensor:
        """The tile's queries, scaled."""
        return (self.turned(self.of_queries(self.q, tile)).to(self.narrow) * self.scale).contiguous()

    def of_queries(self, whole: Tensor, tile: Tile) -> Tensor:
        """The tile's rows of a tensor (B, H, N, ...)."""
        start = self.span.queries.start
        rows = slice(start + tile.queries.start, start + tile.queries.stop)
        return whole[self.span.row, tile.heads, rows]

    def of_keys(self, whole: Tensor, tile: Tile, axis: int = 1) -> Tensor:
        """The tile's keys of a tensor with heads, or key heads, in front and keys at ``axis``."""
        heads = tile.heads
        if whole.shape[0] != self.heads:
            heads = slice(heads.start // self.group, heads.start // self.group + 1)
        return whole[heads].narrow(axis, tile.keys.start, tile.shape[2])

    def of_pairs(self, whole: Tensor, tile: Tile) -> Tensor:
        """The tile of a tensor that is broadcastable to (B, H, N, M): axes of size 1 stay as they are."""
        whole = whole[(None,) * (4 - whole.ndim)]
        row = self.span.row if whole.shape[0] > 1 else 0
        cut = (
            part if n > 1 else slice(None)
            for part, n in zip((tile.heads, tile.queries, tile.keys), whole.shape[1:], strict=True)
        )
        return whole[row][tuple(cut)]

    def turned(self, x: Tensor) -> Tensor:
        """Rows in reverse order, if this work has strips."""
        return x.flip(1) if self.reverse else x

    def strip(self, diagonals: Tensor | None, tile: Tile, columns: slice | None = None) -> Tensor:
        """The tile of the Toeplitz matrix with these diagonals (H or 1, O), as a view; or some of its columns."""
        assert diagonals is not None
        entries = self._entries(diagonals, tile)
        if columns is None:
            return entries.unfold(-1, tile.shape[2], 1)
        return entries[:, columns.start : columns.stop + tile.shape[1] - 1].unfold(-1, columns.stop - columns.start, 1)

    def add_diagonals(self, diagonals: Tensor, tile: Tile, *factors: Tensor) -> None:
        """Add the sums over the diagonals of a tile, or of the product of two."""
        heads, rows, keys = tile.shape
        padded = factors[0].new_empty(heads, rows, keys + rows)
        padded[..., keys:] = 0.0
        padded[..., :keys] = factors[0]
        for factor in factors[1:]:
            padded[..., :keys].mul_(factor)
        sums = padded.flatten(1)[:, : rows * (rows + keys - 1)].unflatten(1, (rows, -1)).sum(1)
        into = self._entries(diagonals, tile)
        into.add_(summed_to(sums, into.shape))

    def _entries(self, diagonals: Tensor, tile: Tile) -> Tensor:
        own = diagonals[tile.heads] if diagonals.shape[0] > 1 else diagonals
        lowest = tile.keys.start - (tile.queries.stop - 1) - self.span.shift
        start = diagonals.shape[1] // 2 + lowest
        return own[:, start : start + tile.shape[1] + tile.shape[2] - 1]


def spans(q: Tensor, k: Tensor, terms: Terms) -> list[Span]:
    queries, keys = q.shape[2], k.shape[2]
    if terms.cu_seqlens is not None:
        pieces = [slice(start, stop) for start, stop in pairwise(terms.cu_seqlens.tolist())]
        return [Span(0, piece, piece, 0) for piece in pieces if piece.stop > piece.start]
    lengths = [keys] * q.shape[0] if terms.lengths is None else terms.lengths.tolist()
    return [Span(row, slice(0, queries), slice(0, n), keys - queries) for row, n in enumerate(lengths)]


def summed_to(x: Tensor, shape: torch.Size) -> Tensor:
    axes = [i for i, (n, m) in enumerate(zip(x.shape, shape, strict=True)) if m == 1 and n > 1]
    return x.sum(axes, keepdim=True) if axes else x
