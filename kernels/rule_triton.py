"""Attention under a rule in one Triton kernel: the outputs, and the log-sum-exp of each softmax row.

Source: Dao 2023, arXiv:2307.08691, algorithm 1 (online softmax); the rules of :mod:`unimodal.kernels.rule`; the
multiplier behind the weights: Luo et al. 2022, arXiv:2205.13401, eq. 8.
Axes: B batch, H heads, G key heads, N queries, M keys, K key width, V value width.

A program holds a block of queries of one head and walks over the keys that they see: first over the tiles in which
every key is seen, then over those at an edge. Under grouped heads each query head reads its own group's keys.

Tolerance against the reference, outputs and gradients, relative to the largest value:

    float32 5e-6    bfloat16 2e-2    float16 4e-3
"""

# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false

import torch
import triton
import triton.language as tl
from torch import Tensor

from unimodal.kernels.rule import Rule, check_diagonals
from unimodal.kernels.rule_triton_call import Call, Problem, address
from unimodal.kernels.rule_triton_tile import diagonal, dot, load_rows, locate, logits, of_head, seen_keys, weigh
from unimodal.kernels.tile_work import Terms

__all__ = ["call", "dense", "forward"]


def forward(q: Tensor, k: Tensor, v: Tensor, rule: Rule, terms: Terms) -> tuple[Tensor, Tensor]:
    """o (B, H, N, V), and lse (B, H, N) in base 2, float32: +inf for a row without keys; empty if not normalised.

    Raises:
        ValueError: the diagonals of a packed batch's Toeplitz terms are too few.
    """
    problem = Problem(dense(q), dense(k), dense(v), rule, terms)
    out = v.new_zeros(*q.shape[:3], v.shape[3])
    lse = torch.full(q.shape[:3] if problem.normalised else (0,), float("inf"), dtype=torch.float32, device=q.device)
    cu = terms.cu_seqlens
    if out.numel() == 0 or k.numel() == 0 or (cu is not None and cu.shape[0] < 2):
        return out, lse
    if cu is not None and (terms.before is not None or terms.after is not None):
        check_diagonals(max(int(cu.diff().max()), 1), before=terms.before, after=terms.after)
    call(problem, out, lse)()
    return out, lse


def call(problem: Problem, out: Tensor, lse: Tensor) -> Call:
    """The launch that fills ``out`` and ``lse``."""
    launch = problem.launch("forward")
    grid, packed = problem.blocks(out.shape[2], launch.queries, out.shape[1])
    outputs = {"packed": packed, "out": address(out), "lse": lse if problem.normalised else None}
    return Call(_forward, grid, problem.arguments(launch) | outputs, launch)


def dense(x: Tensor) -> Tensor:
    """The tensor, copied if its last axis is not dense."""
    return x if x.stride(-1) == 1 else x.contiguous()


@triton.jit
def _forward(
    q, k, v, out, lse, before, after, bias, mask, lengths, packed, sizes, window, scale, level,
    MODE: tl.constexpr, CAUSAL: tl.constexpr, K: tl.constexpr, V: tl.constexpr, KW: tl.constexpr, VW: tl.constexpr,
    BM: tl.constexpr, BN: tl.constexpr, PRECISION: tl.constexpr, UP: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(1)
    row, start, queries, keys, shift, block = locate(sizes, lengths, packed, tl.program_id(2), tl.program_id(0))
    n0 = block * BM
    n = (n0 + tl.arange(0, BM))[:, None]
    q_head = of_head(q, row, head, start)
    k_head = of_head(k, row, head // sizes[2], start)
    v_head = of_head(v, row, head // sizes[2], start)
    q_tile = load_rows(q_head, q[3], n0, queries, True, BM, K, KW)

    lo, mid, hi = seen_keys(n0, queries, keys, shift, window, CAUSAL, BM, BN)
    value = tl.zeros((BM, VW), tl.float32)
    most = tl.full((BM,), float("-inf"), tl.float32)
    total = tl.zeros((BM,), tl.float32)
    for EDGE in tl.static_range(0 if window is None else 1, 2):
        for m0 in tl.range(mid if EDGE else lo, hi if EDGE else mid, BN):
            m = (m0 + tl.arange(0, BN))[None, :]
            lowest = m0 - n0 - shift - (BM - 1)
            k_tile = load_rows(k_head, k[3], m0, keys, EDGE, BN, K, KW)
            v_tile = load_rows(v_head, v[3], m0, keys, EDGE, BN, V, VW)
            product = dot(q_tile, tl.trans(k_tile), PRECISION, UP)
            x = logits(
                product, n, m, lowest, row, head, queries, keys, shift, before, bias, mask, window, scale, level,
                MODE, CAUSAL, EDGE,
            )  # fmt: skip
            if MODE == "softmax":
                higher = tl.maximum(most, tl.max(x, 1))
                safe = tl.where(higher == float("-inf"), 0.0, higher)
                weight = tl.exp2(x - safe[:, None])
                shrink = tl.exp2(most - safe)
                total = total * shrink + tl.sum(weight, 1)
                value = value * shrink[:, None]
                most = higher
            else:
                weight = weigh(x, MODE)
            if after is not None:
                weight = weight * diagonal(after, head, m - n - shift, lowest)
            value += dot(weight, v_tile, PRECISION, UP)

    if MODE == "softmax":
        empty = total == 0.0
        total = tl.where(empty, 1.0, total)
        value = value / total[:, None]
        at = (row.to(tl.int64) * tl.num_programs(1) + head) * sizes[0] + start + n0 + tl.arange(0, BM)
        written = tl.where(empty, float("inf"), most + tl.log2(total))
        tl.store(lse + at, written, mask=n0 + tl.arange(0, BM) < queries)
    column = tl.arange(0, VW)[None, :]
    at = of_head(out, row, head, start + n0) + tl.arange(0, BM)[:, None] * out[3] + column
    tl.store(at, value.to(out[0].dtype.element_ty), mask=(n < queries) & (column < V))
