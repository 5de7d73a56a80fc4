"""The gradients of attention under a rule in Triton: every sum has one program and one order, so the bits repeat.

Source: Dao 2023, arXiv:2307.08691, algorithm 2 (recomputed weights), here with the loop over keys and the loop over
queries in kernels of their own; the factor behind the weights: Luo et al. 2022, arXiv:2205.13401, eq. 8.
Axes: B batch, H heads, G key heads, N queries, M keys, K key width, V value width.

With w the weights, c the factor behind them and dw = c (do v^T): dv = (w c)^T do, dq = scale dx k, dk = scale dx^T q,
where dx is dw times the weights' Jacobian. Under softmax dx = w (dw - delta), and delta = sum_m w dw = do . o.
"""

# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false

import torch
import triton
import triton.language as tl
from torch import Tensor

from unimodal.kernels.rule import Rule
from unimodal.kernels.rule_triton import dense
from unimodal.kernels.rule_triton_call import Call, Problem, address
from unimodal.kernels.rule_triton_terms import Rows, add_diagonals, call_bias
from unimodal.kernels.rule_triton_tile import (
    diagonal,
    dot,
    load_rows,
    locate,
    logits,
    natural,
    of_head,
    pull_back,
    seen_keys,
)
from unimodal.kernels.tile_work import Terms

__all__ = ["backward", "call_keys", "call_queries"]


def backward(
    grad: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    out: Tensor,
    lse: Tensor,
    rule: Rule,
    terms: Terms,
    wanted: list[bool],
) -> list[Tensor | None]:
    """The gradients of q, k, v, before, after and bias; those of the last three in float32, where wanted, else None.

    Args:
        out: What :func:`unimodal.kernels.rule_triton.forward` returned; not read if the weights are not normalised.
        lse: What it returned beside.
    """
    grad, out = dense(grad), dense(out) if lse.numel() else out
    problem = Problem(dense(q), dense(k), dense(v), rule, terms)
    of_q, of_k, of_v = (torch.zeros_like(t, memory_format=torch.contiguous_format) for t in (q, k, v))
    learned = (terms.before, terms.after, terms.bias)
    of_before, of_after, of_bias = (
        torch.zeros_like(t, dtype=torch.float32, memory_format=torch.contiguous_format) if t is not None and w else None
        for t, w in zip(learned, wanted, strict=True)
    )
    found = [of_q, of_k, of_v, of_before, of_after, of_bias]
    cu = terms.cu_seqlens
    if grad.numel() == 0 or k.numel() == 0 or (cu is not None and cu.shape[0] < 2):
        return found
    rows = Rows(address(grad), lse, torch.empty_like(lse)) if problem.normalised else Rows(address(grad))
    call_queries(problem, rows, out, of_q)()
    call_keys(problem, rows, of_k, of_v)()
    if of_before is not None or of_after is not None:
        add_diagonals(problem, rows, of_before, of_after)
    if of_bias is not None:
        call_bias(problem, rows, of_bias)()
    return found


def call_queries(problem: Problem, rows: Rows, out: Tensor, of_q: Tensor) -> Call:
    """The launch that fills ``of_q`` and, under softmax, the rows' delta."""
    launch = problem.launch("queries")
    grid, packed = problem.blocks(of_q.shape[2], launch.queries, of_q.shape[1])
    outputs = {"packed": packed, "out": address(out) if problem.normalised else None, "of_q": address(of_q)}
    return Call(_of_queries, grid, problem.arguments(launch) | rows._asdict() | outputs, launch)


def call_keys(problem: Problem, rows: Rows, of_k: Tensor, of_v: Tensor) -> Call:
    """The launch that fills ``of_k`` and ``of_v``; it needs delta."""
    launch = problem.launch("keys")
    grid, packed = problem.blocks(of_k.shape[2], launch.keys, of_k.shape[1])
    outputs = {"packed": packed, "of_k": address(of_k), "of_v": address(of_v)}
    return Call(_of_keys, grid, problem.arguments(launch) | rows._asdict() | outputs, launch)


@triton.jit
def _of_queries(
    q, k, v, before, after, bias, mask, lengths, sizes, window, scale, level, grad, lse, delta, packed, out, of_q,
    MODE: tl.constexpr, CAUSAL: tl.constexpr, K: tl.constexpr, V: tl.constexpr, KW: tl.constexpr, VW: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, PRECISION: tl.constexpr, UP: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(1)
    row, start, queries, keys, shift, block = locate(sizes, lengths, packed, tl.program_id(2), tl.program_id(0))
    n0 = block * BM
    n = (n0 + tl.arange(0, BM))[:, None]
    k_head = of_head(k, row, head // sizes[2], start)
    v_head = of_head(v, row, head // sizes[2], start)
    q_tile = load_rows(of_head(q, row, head, start), q[3], n0, queries, True, BM, K, KW)
    grad_tile = load_rows(of_head(grad, row, head, start), grad[3], n0, queries, True, BM, V, VW)
    lse_n, delta_n = tl.zeros((BM,), tl.float32), tl.zeros((BM,), tl.float32)
    if MODE == "softmax":
        out_tile = load_rows(of_head(out, row, head, start), out[3], n0, queries, True, BM, V, VW)
        delta_n = tl.sum(grad_tile.to(tl.float32) * out_tile.to(tl.float32), 1)
        at = (row.to(tl.int64) * tl.num_programs(1) + head) * sizes[0] + start + n0 + tl.arange(0, BM)
        within = n0 + tl.arange(0, BM) < queries
        tl.store(delta + at, delta_n, mask=within)
        lse_n = tl.load(lse + at, mask=within, other=float("inf"))

    lo, mid, hi = seen_keys(n0, queries, keys, shift, window, CAUSAL, BM, BN)
    value = tl.zeros((BM, KW), tl.float32)
    for EDGE in tl.static_range(0 if window is None else 1, 2):
        for m0 in tl.range(mid if EDGE else lo, hi if EDGE else mid, BN):
            m = (m0 + tl.arange(0, BN))[None, :]
            lowest = m0 - n0 - shift - (BM - 1)
            k_tile = load_rows(k_head, k[3], m0, keys, EDGE, BN, K, KW)
            v_tile = load_rows(v_head, v[3], m0, keys, EDGE, BN, V, VW)
            x = logits(
                dot(q_tile, tl.trans(k_tile), PRECISION, UP), n, m, lowest, row, head, queries, keys, shift,
                before, bias, mask, window, scale, level, MODE, CAUSAL, EDGE,
            )  # fmt: skip
            of_weight = dot(grad_tile, tl.trans(v_tile), PRECISION, UP)
            if after is not None:
                of_weight *= diagonal(after, head, m - n - shift, lowest)
            _, of_logit = pull_back(x, of_weight, lse_n[:, None], delta_n[:, None], MODE)
            value += dot(of_logit, k_tile, PRECISION, UP)
    column = tl.arange(0, KW)[None, :]
    at = of_head(of_q, row, head, start + n0) + tl.arange(0, BM)[:, None] * of_q[3] + column
    value *= natural(scale, MODE)
    tl.store(at, value.to(of_q[0].dtype.element_ty), mask=(n < queries) & (column < K))


@triton.jit
def _of_keys(
    q, k, v, before, after, bias, mask, lengths, sizes, window, scale, level, grad, lse, delta, packed, of_k, of_v,
    MODE: tl.constexpr, CAUSAL: tl.constexpr, K: tl.constexpr, V: tl.constexpr, KW: tl.constexpr, VW: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, PRECISION: tl.constexpr, UP: tl.constexpr,
):  # fmt: skip
    group = tl.program_id(1)
    row, start, queries, keys, shift, block = locate(sizes, lengths, packed, tl.program_id(2), tl.program_id(0))
    m0 = block * BN
    m = (m0 + tl.arange(0, BN))[:, None]
    k_tile = load_rows(of_head(k, row, group, start), k[3], m0, keys, True, BN, K, KW)
    v_tile = load_rows(of_head(v, row, group, start), v[3], m0, keys, True, BN, V, VW)

    # Queries from lo to hi see some key of the block; those from mid on see every one.
    lo, mid, hi = keys * 0, keys * 0, tl.where(m0 < keys, queries, 0)
    if CAUSAL:
        lo = tl.maximum(m0 - shift, 0) // BM * BM
        mid = (tl.maximum(m0 + BN - 1 - shift, 0) + BM - 1) // BM * BM
    if window is not None:
        lo = tl.maximum(lo, tl.maximum(m0 - shift - window, 0) // BM * BM)
        hi = tl.minimum(hi, m0 + BN - shift + window)
        mid = hi
    mid = tl.minimum(mid, hi)

    k_sum, v_sum = tl.zeros((BN, KW), tl.float32), tl.zeros((BN, VW), tl.float32)
    for EDGE in tl.static_range(0 if window is None else 1, 2 if CAUSAL or window is not None else 1):
        for member in range(sizes[2]):
            head = group * sizes[2] + member
            q_head, grad_head = of_head(q, row, head, start), of_head(grad, row, head, start)
            rows = (row.to(tl.int64) * tl.num_programs(1) * sizes[2] + head) * sizes[0] + start
            for n0 in tl.range(lo if EDGE else mid, mid if EDGE else hi, BM):
                n = (n0 + tl.arange(0, BM))[None, :]
                lowest = m0 - n0 - shift - (BM - 1)
                q_tile = load_rows(q_head, q[3], n0, queries, True, BM, K, KW)
                grad_tile = load_rows(grad_head, grad[3], n0, queries, True, BM, V, VW)
                x = logits(
                    dot(k_tile, tl.trans(q_tile), PRECISION, UP), n, m, lowest, row, head, queries, keys, shift,
                    before, bias, mask, window, scale, level, MODE, CAUSAL, EDGE,
                )  # fmt: skip
                of_weight = dot(v_tile, tl.trans(grad_tile), PRECISION, UP)
                lse_n, delta_n = tl.zeros((BM,), tl.float32), tl.zeros((BM,), tl.float32)
                if MODE == "softmax":
                    at, within = rows + n0 + tl.arange(0, BM), n0 + tl.arange(0, BM) < queries
                    lse_n = tl.load(lse + at, mask=within, other=float("inf"))
                    delta_n = tl.load(delta + at, mask=within, other=0.0)
                if after is not None:
                    factor = diagonal(after, head, m - n - shift, lowest)
                    weight, of_logit = pull_back(x, of_weight * factor, lse_n[None, :], delta_n[None, :], MODE)
                    weight *= factor
                else:
                    weight, of_logit = pull_back(x, of_weight, lse_n[None, :], delta_n[None, :], MODE)
                v_sum += dot(weight, grad_tile, PRECISION, UP)
                k_sum += dot(of_logit, q_tile, PRECISION, UP)
    row_N, key, value = tl.arange(0, BN)[:, None], tl.arange(0, KW)[None, :], tl.arange(0, VW)[None, :]
    k_sum *= natural(scale, MODE)
    at = of_head(of_k, row, group, start + m0) + row_N * of_k[3] + key
    tl.store(at, k_sum.to(of_k[0].dtype.element_ty), mask=(m < keys) & (key < K))
    at = of_head(of_v, row, group, start + m0) + row_N * of_v[3] + value
    tl.store(at, v_sum.to(of_v[0].dtype.element_ty), mask=(m < keys) & (value < V))
