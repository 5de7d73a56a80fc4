"""The gradients of Toeplitz terms and of dense biases in Triton, without atomics and without an N x M buffer.

Source: the equations of :mod:`unimodal.kernels.rule`; gradients as in :mod:`unimodal.kernels.rule_triton_backward`.
Axes: B batch, H heads, S sequences, N queries, M keys, V value width, O offsets, C diagonals of blocks, P diagonals.

The gradient of a Toeplitz term is a sum over diagonals. Blocks of queries and keys lie on diagonals themselves: one
program walks down one of them, adds up its tiles, and sums the diagonals of the one tile that is left. Each tile is
computed once, and what is kept is (S, H, 2 O) numbers, which are added in one order.
"""

# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

from unimodal.kernels.rule_triton_call import Call, Problem
from unimodal.kernels.rule_triton_tile import (
    diagonal,
    dot,
    load_rows,
    locate,
    logits,
    of_head,
    pull_back,
    sum_diagonals,
)

__all__ = ["Rows", "add_diagonals", "call_bias", "call_diagonals"]


class Rows(NamedTuple):
    """What the backward kernels read of each query: the output's gradient, and under softmax lse and delta."""

    grad: tuple[Any, ...]
    lse: Tensor | None = None
    delta: Tensor | None = None


def add_diagonals(problem: Problem, rows: Rows, of_before: Tensor | None, of_after: Tensor | None) -> None:
    """Add the gradients of the Toeplitz terms to ``of_before`` and ``of_after`` (H or 1, O), where given."""
    run, sums = call_diagonals(problem, rows, [of_before is not None, of_after is not None])
    run()
    size, first = run.launch.queries, run.named["first"]
    shift = 0 if problem.terms.cu_seqlens is not None else problem.k.shape[2] - problem.q.shape[2]
    for term, sum_SHCXP in zip((of_before, of_after), sums, strict=True):
        if term is None or sum_SHCXP is None:
            continue
        lower_HO, upper_HO = (sum_SHCXP[:, :, :, i].sum(0).flatten(1) for i in (0, 1))
        flat_HO = F.pad(lower_HO, (0, size)) + F.pad(upper_HO, (size, 0))
        if term.shape[0] == 1:
            flat_HO = flat_HO.sum(0, keepdim=True)
        start = (first - 1) * size - shift + term.shape[1] // 2  # where the first offset stands in the term
        cut = slice(max(start, 0), min(start + flat_HO.shape[1], term.shape[1]))
        term[:, cut] += flat_HO[:, cut.start - start : cut.stop - start]


def call_diagonals(problem: Problem, rows: Rows, wanted: list[bool]) -> tuple[Call, list[Tensor | None]]:
    """The launch for ``before`` and ``after``, where wanted; and the sums it fills: (S, H, C, lower or upper, P)."""
    q, launch, cu = problem.q, problem.launch("diagonals"), problem.terms.cu_seqlens
    sequences, packed, queries, keys = q.shape[0], None, q.shape[2], problem.k.shape[2]
    if cu is not None:
        number = torch.arange(cu.shape[0] - 1, dtype=torch.int32, device=cu.device)
        sequences, packed = number.shape[0], (cu.int(), number, number)
        queries = keys = int(cu.diff().max())
    first = 1 - triton.cdiv(queries, launch.queries)
    shape = (sequences, q.shape[1], triton.cdiv(keys, launch.queries) - first, 2, launch.queries)
    sums = [torch.empty(shape, dtype=torch.float32, device=q.device) if want else None for want in wanted]
    outputs = {"packed": packed, "first": first, "before_sums": sums[0], "after_sums": sums[1]}
    named = problem.arguments(launch) | rows._asdict() | outputs
    return Call(_of_diagonals, (shape[2], shape[1], sequences), named, launch), sums


def call_bias(problem: Problem, rows: Rows, of_bias: Tensor) -> Call:
    """The launch that fills ``of_bias``, which has the bias's shape: sums over the axes of size 1."""
    launch = problem.launch("bias")
    whole = of_bias[(None,) * (4 - of_bias.ndim)]
    (batch, heads, queries, keys), q = whole.shape, problem.q
    one_query, one_key = queries < q.shape[2], keys < problem.k.shape[2]
    columns = 1 if one_key else triton.cdiv(keys, launch.keys)
    outputs = {
        "of_bias": (whole, *whole.stride()),
        "columns": columns,
        "loops": (q.shape[0] if batch < q.shape[0] else 1, q.shape[1] if heads < q.shape[1] else 1, q.shape[1]),
        "ONE_QUERY": one_query,
        "ONE_KEY": one_key,
    }
    grid = (columns * (1 if one_query else triton.cdiv(queries, launch.queries)), heads, batch)
    return Call(_of_bias, grid, problem.arguments(launch) | rows._asdict() | outputs, launch)


@triton.jit
def _tile(
    q, k, v, grad, lse, delta, before, after, bias, mask, window, scale, level,
    row, head, heads, start, queries, keys, shift, sizes, n0, m0,
    MODE: tl.constexpr, CAUSAL: tl.constexpr, K: tl.constexpr, V: tl.constexpr, KW: tl.constexpr, VW: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, PRECISION: tl.constexpr, UP: tl.constexpr,
):  # fmt: skip
    """(gradient of the logits, gradient of the factor) of one tile (BM, BN)."""
    n, m = (n0 + tl.arange(0, BM))[:, None], (m0 + tl.arange(0, BN))[None, :]
    lowest = m0 - n0 - shift - (BM - 1)
    q_tile = load_rows(of_head(q, row, head, start), q[3], n0, queries, True, BM, K, KW)
    k_tile = load_rows(of_head(k, row, head // sizes[2], start), k[3], m0, keys, True, BN, K, KW)
    x = logits(
        dot(q_tile, tl.trans(k_tile), PRECISION, UP), n, m, lowest, row, head, queries, keys, shift,
        before, bias, mask, window, scale, level, MODE, CAUSAL, True,
    )  # fmt: skip
    grad_tile = load_rows(of_head(grad, row, head, start), grad[3], n0, queries, True, BM, V, VW)
    v_tile = load_rows(of_head(v, row, head // sizes[2], start), v[3], m0, keys, True, BN, V, VW)
    of_used = dot(grad_tile, tl.trans(v_tile), PRECISION, UP)
    lse_n, delta_n = tl.zeros((BM,), tl.float32), tl.zeros((BM,), tl.float32)
    if MODE == "softmax":
        token = n0 + tl.arange(0, BM)
        at = (row.to(tl.int64) * heads + head) * sizes[0] + start + token
        lse_n = tl.load(lse + at, mask=token < queries, other=float("inf"))
        delta_n = tl.load(delta + at, mask=token < queries, other=0.0)
    of_weight = of_used
    if after is not None:
        of_weight = of_used * diagonal(after, head, m - n - shift, lowest)
    weight, of_logit = pull_back(x, of_weight, lse_n[:, None], delta_n[:, None], MODE)
    return of_logit, weight * of_used


@triton.jit
def _of_diagonals(
    q, k, v, before, after, bias, mask, lengths, sizes, window, scale, level, grad, lse, delta, packed, first,
    before_sums, after_sums,
    MODE: tl.constexpr, CAUSAL: tl.constexpr, K: tl.constexpr, V: tl.constexpr, KW: tl.constexpr, VW: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, PRECISION: tl.constexpr, UP: tl.constexpr,
):  # fmt: skip
    head, heads = tl.program_id(1), tl.num_programs(1)
    row, start, queries, keys, shift, _block = locate(sizes, lengths, packed, tl.program_id(2), tl.program_id(2))
    block = tl.program_id(0) + first  # keys of block a + block meet queries of block a
    middle = block * BM - shift  # the offset of the tiles' main diagonals
    begin = tl.maximum(-block, 0)
    end = tl.minimum((queries + BM - 1) // BM, (keys + BM - 1) // BM - block)
    if CAUSAL:
        end = tl.where(middle - BM < 0, end, 0)
    if window is not None:
        end = tl.where((middle - BM < window) & (middle + BM > -window), end, 0)
    before_tile, after_tile = tl.zeros((BM, BM), tl.float32), tl.zeros((BM, BM), tl.float32)
    for a in tl.range(begin, end):
        of_logit, of_factor = _tile(
            q, k, v, grad, lse, delta, before, after, bias, mask, window, scale, level,
            row, head, heads, start, queries, keys, shift, sizes, a * BM, (a + block) * BM,
            MODE, CAUSAL, K, V, KW, VW, BM, BM, PRECISION, UP,
        )  # fmt: skip
        if before_sums is not None:
            before_tile += of_logit
        if after_sums is not None:
            after_tile += of_factor
    at = ((tl.program_id(2).to(tl.int64) * heads + head) * tl.num_programs(0) + tl.program_id(0)) * 2 * BM
    at += tl.arange(0, BM)
    if before_sums is not None:
        lower, upper = sum_diagonals(before_tile, BM)
        tl.store(before_sums + at, lower)
        tl.store(before_sums + at + BM, upper)
    if after_sums is not None:
        lower, upper = sum_diagonals(after_tile, BM)
        tl.store(after_sums + at, lower)
        tl.store(after_sums + at + BM, upper)


@triton.jit
def _of_bias(
    q, k, v, before, after, bias, mask, lengths, sizes, window, scale, level, grad, lse, delta, of_bias, columns, loops,
    ONE_QUERY: tl.constexpr, ONE_KEY: tl.constexpr,
    MODE: tl.constexpr, CAUSAL: tl.constexpr, K: tl.constexpr, V: tl.constexpr, KW: tl.constexpr, VW: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, PRECISION: tl.constexpr, UP: tl.constexpr,
):  # fmt: skip
    n_begin, m_begin = tl.program_id(0) // columns * BM, tl.program_id(0) % columns * BN
    n_end, m_end = sizes[0] if ONE_QUERY else n_begin + BM, sizes[1] if ONE_KEY else m_begin + BN
    total = tl.zeros((BM, BN), tl.float32)
    for step in range(loops[0] * loops[1]):
        sequence = tl.program_id(2) + step // loops[1]
        row, start, queries, keys, shift, _block = locate(sizes, lengths, None, sequence, 0)
        head = tl.program_id(1) + step % loops[1]
        for n0 in range(n_begin, n_end, BM):
            for m0 in tl.range(m_begin, tl.minimum(m_end, keys), BN):
                of_logit, _of_factor = _tile(
                    q, k, v, grad, lse, delta, before, after, bias, mask, window, scale, level,
                    row, head, loops[2], start, queries, keys, shift, sizes, n0, m0,
                    MODE, CAUSAL, K, V, KW, VW, BM, BN, PRECISION, UP,
                )  # fmt: skip
                total += of_logit
    n, m = (n_begin + tl.arange(0, BM))[:, None], (m_begin + tl.arange(0, BN))[None, :]
    if ONE_QUERY:
        total, n = tl.sum(total, 0, keep_dims=True), tl.zeros((1, 1), tl.int32)
    if ONE_KEY:
        total, m = tl.sum(total, 1, keep_dims=True), tl.zeros((1, 1), tl.int32)
    head, row = tl.program_id(1), tl.program_id(2)
    at = of_bias[0] + row.to(tl.int64) * of_bias[1] + head * of_bias[2] + n.to(tl.int64) * of_bias[3] + m * of_bias[4]
    within = (n < (1 if ONE_QUERY else sizes[0])) & (m < (1 if ONE_KEY else sizes[1]))
    tl.store(at, total, mask=within)
