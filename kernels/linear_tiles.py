"""Linear attention head by head in the processor's cache, forward and backward, with a state in place of pairs.

Source: order of products and the state: Katharopoulos et al. 2020, arXiv:2006.16236, eq. 5-6 and 16-20; chunks: Sun et
al. 2023, arXiv:2307.08621, eq. 7.
Axes: B batch, R rows, H heads, G key heads, N queries, M keys, K key width, V value width, S sequences, C tokens of a
chunk, L heads of the rows at once.

Features are made tile by tile, where a whole tensor of them would go through the memory twice more. The backward pass
of causal order keeps one state a chunk: it runs over the states once more, and then over the chunks from the last to
the first with the gradient of the state in place of the state. A normaliser is one more column of the values, of ones.
Everything is float32, or float64 for float64.

The gradient of log g needs no pairs either. A product of a row with its own gradient is the sum over its pairs, so

    sum (i - j) a_ij = sum_i i q_i dq_i - sum_j j k_j dk_j + S dS + (C - 1) S' dS', a_ij the share of a pair,

where the state before a chunk stands at i = -1 and the one behind it at C - 1.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from unimodal.kernels.linear_chunk import Chunk, Decay
from unimodal.kernels.linear_rule import FEATURES, LinearRule

__all__ = ["Held", "accumulated", "backward", "forward", "states_like"]

CHUNK, CELLS = 64, 128 * 1024  # tokens of a chunk; numbers of one operand of a tile: float32 fills half a megabyte


@dataclass(frozen=True, eq=False)
class Held:
    """The tensors of a call besides q, k and v.

    Shapes:
        decay: (H,), log g;  state: (S, H, K, V), V + 1 where normalised;  seen: (B or 1, H or 1, M or 1, 1), which
        keys count;  cu_seqlens: (S + 1,).
    """

    decay: Tensor | None = None
    state: Tensor | None = None
    seen: Tensor | None = None
    cu_seqlens: Tensor | None = None


@dataclass(frozen=True)
class _Tile:
    """Heads of one sequence, or of several rows, that are computed at once; ``states`` are theirs."""

    states: slice
    rows: slice
    groups: slice
    heads: slice
    queries: slice
    keys: slice


def forward(q: Tensor, k: Tensor, v: Tensor, rule: LinearRule, held: Held) -> tuple[Tensor, Tensor]:
    """o (B, H, N, V) in v's dtype, and the state behind each sequence."""
    out, last = v.new_empty(*q.shape[:3], v.shape[3]), states_like(q, v, rule, held)
    for tile in _tiles(q, k, held):
        work, carried = _Work(q, k, v, rule, held, tile), last[tile.states, tile.heads]
        if not rule.causal:
            work.store(out, tile.queries, work.whole(carried))
            continue
        state = carried.flatten(0, 1).clone()
        for at in _chunks(tile):
            chunk = work.chunk(at)
            work.store(out, at, work.divided(chunk.values(state)))
            chunk.advance(state)
        carried.copy_(state.view(carried.shape))
    return out, last


def backward(
    grad: Tensor,
    grad_last: Tensor | None,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    rule: LinearRule,
    held: Held,
    of_decay: bool,
) -> list[Tensor]:
    """The gradients of q, k, v, the state, and log g (float64; zeros unless ``of_decay``)."""
    wholes = tuple(torch.empty_like(t, memory_format=torch.contiguous_format) for t in (q, k, v))
    first = states_like(q, v, rule, held)
    of_state = torch.zeros_like(first) if grad_last is None else grad_last.to(first.dtype, copy=True)
    of_log = torch.zeros(q.shape[1], dtype=torch.float64, device=q.device)
    for tile in _tiles(q, k, held):
        work, carried = _Work(q, k, v, rule, held, tile), of_state[tile.states, tile.heads]
        pulled = carried.flatten(0, 1).clone()
        if not rule.causal:
            whole = work.chunk(tile.queries, tile.keys)
            state = torch.bmm(whole.k.mT, whole.v)
            of_o = work.of_undivided(torch.bmm(whole.q, state), grad, tile.queries)
            pulled.baddbmm_(whole.q.mT, of_o)
            found = torch.bmm(of_o, state.mT), torch.bmm(whole.v, pulled.mT), torch.bmm(whole.k, pulled)
            work.store_gradients(wholes, tile.queries, tile.keys, found)
            continue
        states = [first[tile.states, tile.heads].flatten(0, 1)]
        for at in _chunks(tile):
            states.append(states[-1].clone())
            work.chunk(at).advance(states[-1])
        for at in reversed(list(_chunks(tile))):
            after, before, chunk = states.pop(), states[-1], work.chunk(at)
            shares = (chunk.size - 1) * (after * pulled).sum((1, 2)).double() if of_decay else None
            of_o = work.of_undivided(chunk.values(before) if rule.normalised else None, grad, at)
            found = chunk.pull_back(of_o, before, pulled)
            if shares is not None:
                shares = shares + (before * pulled).sum((1, 2)) + chunk.of_decay(*found[:2])
                of_log[tile.heads] += work.by_head(shares).sum(0)
            work.store_gradients(wholes, at, at, found)
        carried.copy_(pulled.view(carried.shape))
    return [*wholes, of_state, of_log]


def states_like(q: Tensor, v: Tensor, rule: LinearRule, held: Held) -> Tensor:
    """A copy of the states before the first token, zeros where there are none."""
    if held.state is not None:
        return held.state.to(accumulated(q, v), copy=True).contiguous()
    sequences = q.shape[0] if held.cu_seqlens is None else held.cu_seqlens.shape[0] - 1
    return q.new_zeros(sequences, q.shape[1], q.shape[3], v.shape[3] + rule.normalised, dtype=accumulated(q, v))


class _Work:
    """One tile's operands: features of its queries and keys, its values, and the way back of its gradients."""

    def __init__(self, q: Tensor, k: Tensor, v: Tensor, rule: LinearRule, held: Held, tile: _Tile) -> None:
        self.q, self.k, self.v, self.rule, self.seen, self.tile = q, k, v, rule, held.seen, tile
        self.dtype, self.features, self.repeats = accumulated(q, v), FEATURES[rule.features], q.shape[1] // k.shape[1]
        rows, longest = tile.rows.stop - tile.rows.start, min(CHUNK, tile.queries.stop - tile.queries.start)
        self.decay = None if held.decay is None else Decay(held.decay[tile.heads].repeat(rows), self.dtype, longest)

    def queries(self, at: slice) -> Tensor:
        return self.features.make(self.of(self.q, self.tile.heads, at)).flatten(0, 1)

    def keys(self, at: slice) -> Tensor:
        return self.kept(self.spread(self.features.make(self.of(self.k, self.tile.groups, at))), at).flatten(0, 1)

    def values(self, at: slice) -> Tensor:
        return self.kept(self.spread(self.of(self.v, self.tile.groups, at)), at).flatten(0, 1)

    def chunk(self, queries: slice, keys: slice | None = None) -> Chunk:
        keys = queries if keys is None else keys
        v_LCV = self.values(keys)
        if self.rule.normalised:
            v_LCV = torch.cat([v_LCV, v_LCV.new_ones(*v_LCV.shape[:2], 1)], -1)
        return Chunk(self.queries(queries), self.keys(keys), v_LCV, self.decay)

    def whole(self, last: Tensor) -> Tensor:
        """Without causal order: q (k^T v), and normalisers beside it; ``last`` becomes the state."""
        q_LNK, k_LMK, v_LMV = self.queries(self.tile.queries), self.keys(self.tile.keys), self.values(self.tile.keys)
        state_LKV, total_LK = torch.bmm(k_LMK.mT, v_LMV), k_LMK.sum(1)
        last[..., : self.v.shape[3]].copy_(self.by_head(state_LKV))
        o_LNV = torch.bmm(q_LNK, state_LKV)
        if not self.rule.normalised:
            return o_LNV
        last[..., -1].copy_(self.by_head(total_LK))
        total_LN1 = torch.bmm(total_LK[:, None], q_LNK.mT).mT  # several times as fast as q times a column
        return o_LNV.div_(self.divisor(total_LN1))

    def divided(self, o: Tensor) -> Tensor:
        return o[..., :-1] / self.divisor(o[..., -1:]) if self.rule.normalised else o

    def divisor(self, total: Tensor) -> Tensor:
        total = total + self.rule.eps
        return total.masked_fill_(total == 0, 1.0)

    def of_undivided(self, o: Tensor | None, grad: Tensor, at: slice) -> Tensor:
        """The gradient of the values before they are divided, and behind it that of their normaliser."""
        grad_LCV = self.of(grad, self.tile.heads, at).flatten(0, 1)
        if o is None or not self.rule.normalised:
            return grad_LCV
        grad_LCV = grad_LCV / self.divisor(o[..., -1:])
        of_total = (grad_LCV * o[..., :-1]).sum(-1, keepdim=True) / self.divisor(o[..., -1:])
        return torch.cat([grad_LCV, of_total.masked_fill_(o[..., -1:] + self.rule.eps == 0, 0.0).neg_()], -1)

    def store(self, whole: Tensor, at: slice, x: Tensor) -> None:
        whole[self.tile.rows, self.tile.heads, at].copy_(self.by_head(x))

    def store_gradients(
        self, wholes: tuple[Tensor, ...], queries: slice, keys: slice, found: tuple[Tensor, ...]
    ) -> None:
        rows, heads, groups = self.tile.rows, self.tile.heads, self.tile.groups
        of_q, of_k, of_v = (self.by_head(x) for x in found)
        of_k, of_v = (self.gathered(self.kept(x, keys)) for x in (of_k, of_v))
        pull_back = self.features.pull_back
        wholes[0][rows, heads, queries].copy_(pull_back(of_q, self.of(self.q, heads, queries)))
        wholes[1][rows, groups, keys].copy_(pull_back(of_k, self.of(self.k, groups, keys)))
        wholes[2][rows, groups, keys].copy_(of_v[..., : self.v.shape[3]])

    def of(self, whole: Tensor, heads: slice, at: slice) -> Tensor:
        return whole[self.tile.rows, heads, at].to(self.dtype)

    def spread(self, x_RGCW: Tensor) -> Tensor:
        """Each query head's own copy of its key head."""
        return x_RGCW if self.repeats == 1 else x_RGCW.repeat_interleave(self.repeats, dim=1)

    def gathered(self, x_RHCW: Tensor) -> Tensor:
        return x_RHCW if self.repeats == 1 else x_RHCW.unflatten(1, (-1, self.repeats)).sum(2)

    def kept(self, x_RHCW: Tensor, at: slice) -> Tensor:
        """0 where a key does not count."""
        if self.seen is None:
            return x_RHCW
        cuts = zip((self.tile.rows, self.tile.heads, at), self.seen.shape, strict=False)
        seen = self.seen[tuple(cut if n > 1 else slice(None) for cut, n in cuts)]
        return x_RHCW.masked_fill(~seen, 0.0)

    def by_head(self, x: Tensor) -> Tensor:
        return x.unflatten(0, (-1, self.tile.heads.stop - self.tile.heads.start))


def _tiles(q: Tensor, k: Tensor, held: Held) -> Iterator[_Tile]:
    """Heads of a row or sequence as fit the cache, or several rows where all their heads do."""
    repeats = q.shape[1] // k.shape[1]
    if held.cu_seqlens is None:
        whole, tokens = (slice(0, q.shape[2]), slice(0, k.shape[2])), max(q.shape[2], k.shape[2])
        rows = max(1, CELLS // max(q.shape[1] * q.shape[3] * tokens, 1))
        sequences = [(slice(i, min(i + rows, q.shape[0])),) * 2 + whole for i in range(0, q.shape[0], rows)]
    else:
        spans = [slice(*ends) for ends in pairwise(held.cu_seqlens.tolist())]
        sequences = [(slice(i, i + 1), slice(0, 1), span, span) for i, span in enumerate(spans)]
    for states, rows, queries, keys in sequences:
        tokens = max(queries.stop - queries.start, keys.stop - keys.start)
        most = max(1, CELLS // max(min(tokens, 1024) * q.shape[3] * repeats, 1))
        for start in range(0, k.shape[1], most):
            stop = min(start + most, k.shape[1])
            yield _Tile(states, rows, slice(start, stop), slice(start * repeats, stop * repeats), queries, keys)


def _chunks(tile: _Tile) -> Iterator[slice]:
    for start in range(tile.queries.start, tile.queries.stop, CHUNK):
        yield slice(start, min(start + CHUNK, tile.queries.stop))


def accumulated(q: Tensor, v: Tensor) -> torch.dtype:
    """The dtype of states and of everything between the products."""
    return torch.promote_types(torch.promote_types(q.dtype, v.dtype), torch.float32)
