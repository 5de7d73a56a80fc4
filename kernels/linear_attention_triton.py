"""Sums over pairs of features on CUDA: one kernel for values and every gradient, in causal order, against it, or whole.

Source: Sun et al. 2023, arXiv:2307.08621, eq. 7 (chunks); the programs of Qin et al. 2024, arXiv:2401.04658, sec. 3
(one for a head and a block of values, with the state in registers).
Axes: B batch, H heads, N tokens, K key width, V value width, S sequences, C tokens of a chunk.

    o_i = sum_{j <= i} g^(i-j) (q_i k_j) v_j

Each gradient is such a sum again, with the arguments in other places: that of q is the sum of (do, v, k), those of k
and v run from the last token to the first, over (v, do, q) and (k, q, do). So a backward pass is three launches.
"""

# pyright: reportArgumentType=false, reportCallIssue=false
# (the checker reads a kernel as Python, without the launch that gives a constant its value)

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["arguments", "sums", "warps"]

CHUNKS, VALUES = {2: 64, 4: 16}, {2: 64, 4: 32}  # tokens and values of a tile by the bytes of a number


def sums(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Tensor | None,
    cu_seqlens: Tensor | None,
    *,
    causal: bool,
    reverse: bool = False,
) -> Tensor:
    """o (B, H, N, V) in float32, H the largest number of heads; with ``reverse`` token i sees those from i on.

    Shapes:
        q, k: (B, heads, N, K);  v: (B, heads, N, V), each number of heads a divisor of H;  decay: (H,), log g.
    """
    named, grid = arguments(q, k, v, decay, cu_seqlens, causal=causal, reverse=reverse)
    if min(grid) and named["out"].numel():
        _sums[grid](**named, num_warps=warps(named["WIDTH"], q.element_size()), num_stages=2)
    return named["out"]


def arguments(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    decay: Tensor | None,
    cu_seqlens: Tensor | None,
    *,
    causal: bool,
    reverse: bool = False,
) -> tuple[dict[str, Any], tuple[int, int]]:
    """What :func:`sums` launches: the kernel's arguments by name, and the grid."""
    heads = max(t.shape[1] for t in (q, k, v))
    sequences = q.shape[0] if cu_seqlens is None else cu_seqlens.shape[0] - 1
    out = q.new_empty(q.shape[0], heads, q.shape[2], v.shape[3], dtype=torch.float32)
    values = max(16, min(VALUES[q.element_size()], triton.next_power_of_2(v.shape[3])))
    named = {
        **{name: t.contiguous() for name, t in (("q", q), ("k", k), ("v", v))},
        "out": out,
        "decay": None if decay is None else decay.to(torch.float32).contiguous(),
        "cu": cu_seqlens,
        "queries": q.shape[2],
        "keys": k.shape[2],
        "heads": heads,
        "width": q.shape[3],
        "columns": v.shape[3],
        **{f"repeats_{name}": heads // t.shape[1] for name, t in (("q", q), ("k", k), ("v", v))},
        "CAUSAL": causal,
        "REVERSE": reverse,
        "CHUNK": CHUNKS[q.element_size()],
        "WIDTH": max(16, triton.next_power_of_2(q.shape[3])),
        "COLUMNS": values,
        "UP": q.device.type == "cpu",  # the interpreter multiplies bfloat16 wrongly
    }
    return named, (sequences * heads, triton.cdiv(v.shape[3], values))


def warps(width: int, bytes_each: int) -> int:
    """Warps of a program whose keys have ``width`` numbers, a power of two: as many as leave no register to spill."""
    return 4 if width * bytes_each <= 128 else 8


@triton.jit
def _rows(base, at, stop, columns, count, UP: tl.constexpr):
    """Rows ``at`` of a contiguous matrix of ``count`` columns, 0 outside of it."""
    inside = (at[:, None] < stop) & (columns[None, :] < count)
    rows = tl.load(base + at[:, None].to(tl.int64) * count + columns[None, :], mask=inside, other=0.0)
    return rows.to(tl.float32) if UP else rows


@triton.jit
def _product(a, b, like):
    """In the dtype of ``like``; float32 in three products of shorter mantissas, which lose next to nothing."""
    return tl.dot(a.to(like.dtype), b.to(like.dtype), input_precision="tf32x3")


@triton.jit
def _sums(
    q,
    k,
    v,
    out,
    decay,
    cu,
    queries,
    keys,
    heads,
    width,
    columns,
    repeats_q,
    repeats_k,
    repeats_v,
    CAUSAL: tl.constexpr,
    REVERSE: tl.constexpr,
    CHUNK: tl.constexpr,
    WIDTH: tl.constexpr,
    COLUMNS: tl.constexpr,
    UP: tl.constexpr,
):
    sequence, head = tl.program_id(0) // heads, tl.program_id(0) % heads
    row, start, stop, stop_keys = sequence, 0, queries, keys
    if cu is not None:
        row, start = 0, tl.load(cu + sequence).to(tl.int32)
        stop = tl.load(cu + sequence + 1).to(tl.int32)
        stop_keys = stop
    row = tl.cast(row, tl.int64)
    q += (row * (heads // repeats_q) + head // repeats_q) * queries * width
    k += (row * (heads // repeats_k) + head // repeats_k) * keys * width
    v += (row * (heads // repeats_v) + head // repeats_v) * keys * columns
    out += (row * heads + head) * queries * columns
    log = tl.load(decay + head) if decay is not None else 0.0

    place, of_width = tl.arange(0, CHUNK), tl.arange(0, WIDTH)
    of_values = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    state = tl.zeros((WIDTH, COLUMNS), tl.float32)
    if not CAUSAL:
        for begin in range(start, stop_keys, CHUNK):
            y = _rows(k, begin + place, stop_keys, of_width, width, UP)
            z = _rows(v, begin + place, stop_keys, of_values, columns, UP)
            state += _product(tl.trans(y), z, z)

    chunks = tl.cdiv(stop - start, CHUNK)
    for step in range(0, chunks):
        begin = start + (chunks - 1 - step if REVERSE else step) * CHUNK
        at = begin + place
        x = _rows(q, at, stop, of_width, width, UP)
        if CAUSAL:
            count = tl.minimum(stop - begin, CHUNK)
            y = _rows(k, at, stop, of_width, width, UP)
            z = _rows(v, at, stop, of_values, columns, UP)
            back = place[None, :] - place[:, None] if REVERSE else place[:, None] - place[None, :]
            far = count - place if REVERSE else place + 1
            near = place if REVERSE else count - 1 - place
            score = _product(x, tl.trans(y), x)
            score = tl.where(back >= 0, score * tl.exp(log * tl.maximum(back, 0)), 0.0)
            value = _product(score, z, z)
            value += _product(x * tl.exp(log * tl.maximum(far, 0))[:, None], state, x)
            fading = tl.where(place < count, tl.exp(log * tl.maximum(near, 0)), 0.0)
            state = state * tl.exp(log * count) + _product(tl.trans(y * fading[:, None]), z, z)
        else:
            value = _product(x, state, x)
        inside = (at[:, None] < stop) & (of_values[None, :] < columns)
        tl.store(out + at[:, None].to(tl.int64) * columns + of_values[None, :], value, mask=inside)
