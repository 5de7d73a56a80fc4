"""One tile of attention under a rule, for the Triton kernels: its place, its logits, its weights and their gradient.

Source: the equations of :mod:`unimodal.kernels.rule`; tiles in fast memory: Dao et al. 2022, arXiv:2205.14135, s. 3.1.
Axes: a tile has one axis for queries and one for keys, in either order: functions see broadcastable indices n and m.

Tensors come as tuples of the pointer and the strides of their leading axes: (pointer, batch, head, token); of
diagonals: (pointer, head stride, how far they reach); of pairs: (pointer, batch, head, query, key). What is not given
is None, and its code is not compiled.

Logits are kept in units of :func:`unit`: for rules with an exponential in base 2, which is what the processor has.

A new rule is a line in :func:`weigh` and one in :func:`pull_back`.
"""

# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false

import triton
import triton.language as tl

__all__ = [
    "diagonal",
    "dot",
    "load_rows",
    "locate",
    "logits",
    "natural",
    "of_head",
    "pull_back",
    "seen_keys",
    "sum_diagonals",
    "unit",
    "weigh",
]

LOG2_E = tl.constexpr(1.4426950408889634)


def unit(mode: str) -> float:
    """How many units of the kernel's logits make one natural unit."""
    return 1.0 if mode == "relu" else LOG2_E.value


@triton.jit
def natural(scale, MODE: tl.constexpr):
    """The scale in natural units."""
    return scale if MODE == "relu" else scale / LOG2_E


@triton.jit
def locate(sizes, lengths, packed, sequence, block):
    """(row, first token, queries, keys, place of query 0, block within the sequence) of block ``block``."""
    if packed is not None:
        sequence = tl.load(packed[1] + block)
        start = tl.load(packed[0] + sequence)
        count = tl.load(packed[0] + sequence + 1) - start
        return sequence * 0, start, count, count, sequence * 0, block - tl.load(packed[2] + sequence)
    keys = sequence * 0 + sizes[1]
    if lengths is not None:
        keys = tl.load(lengths + sequence).to(tl.int32)
    return sequence, sequence * 0, sequence * 0 + sizes[0], keys, sequence * 0 + (sizes[1] - sizes[0]), block


@triton.jit
def of_head(x, row, head, token):
    """The address of ``token`` of one row and head; all larger steps are taken in 64 bits."""
    return x[0] + row.to(tl.int64) * x[1] + head.to(tl.int64) * x[2] + token.to(tl.int64) * x[3]


@triton.jit
def load_rows(
    x, stride, first, count, CHECK: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, WIDE: tl.constexpr
):
    """(ROWS, WIDE) from token ``first``: 0 behind token ``count`` (if CHECK) and behind column WIDTH."""
    row, column = tl.arange(0, ROWS), tl.arange(0, WIDE)
    at = x + tl.cast(first, tl.int64) * stride + row[:, None] * stride + column[None, :]
    if CHECK:
        within = (first + row)[:, None] < count
        if WIDTH != WIDE:
            within = within & (column[None, :] < WIDTH)
        return tl.load(at, mask=within, other=0.0)
    if WIDTH != WIDE:
        return tl.load(at, mask=column[None, :] < WIDTH, other=0.0)
    return tl.load(at)


@triton.jit
def dot(a, b, PRECISION: tl.constexpr, UP: tl.constexpr):
    """a b in float32 from operands of b's dtype; UP: the interpreter multiplies no bfloat16."""
    a = a.to(b.dtype)
    if UP:
        return tl.dot(a.to(tl.float32), b.to(tl.float32), input_precision=PRECISION)
    return tl.dot(a, b, input_precision=PRECISION)


@triton.jit
def seen_keys(
    n0, queries, keys, shift, window, CAUSAL: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr
):  # fmt: skip
    """(lo, mid, hi): some query of the block at n0 sees keys from lo to hi, and every one those from lo to mid."""
    lo, hi, mid = keys * 0, keys, keys // BN * BN
    place = n0 + shift
    if CAUSAL:
        hi = tl.minimum(hi, place + BM)
        mid = tl.minimum(mid, tl.maximum(place + 1, 0) // BN * BN)
    if window is not None:
        hi = tl.minimum(hi, place + BM + window)
        lo = tl.maximum(place - window, 0) // BN * BN
        mid = lo
    hi = tl.where(n0 < queries, hi, 0)
    return lo, tl.minimum(mid, tl.maximum(hi, 0) // BN * BN), hi


@triton.jit
def diagonal(strip, head, offset, lowest):
    """The tile of a Toeplitz matrix at these offsets, from ``lowest`` on, by a strip of its diagonals: loaded once."""
    ROWS: tl.constexpr = offset.shape[0]
    COLUMNS: tl.constexpr = offset.shape[1]
    SPAN: tl.constexpr = 2 * max(ROWS, COLUMNS)
    at = lowest + tl.arange(0, SPAN)
    reach = strip[2]
    within = (at <= reach) & (at >= -reach)
    values = tl.load(strip[0] + head * strip[1] + reach + at, mask=within, other=0.0)
    index = tl.reshape(offset - lowest, [ROWS * COLUMNS])
    return tl.reshape(tl.gather(values, index, 0), [ROWS, COLUMNS])


@triton.jit
def logits(
    product, n, m, lowest, row, head, queries, keys, shift, before, bias, mask, window, scale, level,
    MODE: tl.constexpr, CAUSAL: tl.constexpr, EDGE: tl.constexpr,
):  # fmt: skip
    """The logits of a tile from q k^T; -inf where a key is not seen. EDGE: the tile may reach over what is seen."""
    x = product * scale
    offset = m - n - shift
    if before is not None:
        x += diagonal(before, head, offset, lowest)
    inside = (n < queries) & (m < keys)
    if bias is not None:
        at = bias[0] + row.to(tl.int64) * bias[1] + head * bias[2] + n.to(tl.int64) * bias[3] + m * bias[4]
        term = tl.load(at, mask=inside, other=0.0).to(tl.float32)
        x += term if MODE == "relu" else term * LOG2_E
    if MODE != "softmax":  # a softmax does not feel a level
        if level is not None:
            x += level
        else:
            count = tl.log2(tl.maximum(keys, 1).to(tl.float32))
            x -= count / LOG2_E if MODE == "relu" else count
    if EDGE:
        seen = m < keys
        if CAUSAL:
            seen = seen & (offset <= 0)
        if window is not None:
            seen = seen & (offset <= window) & (offset >= -window)
        x = tl.where(seen, x, float("-inf"))
    if mask is not None:
        at = mask[0] + row.to(tl.int64) * mask[1] + head * mask[2] + n.to(tl.int64) * mask[3] + m * mask[4]
        x = tl.where(tl.load(at, mask=inside, other=0) != 0, x, float("-inf"))
    return x


@triton.jit
def weigh(x, MODE: tl.constexpr):
    """Weights of logits, for the rules that do not normalise."""
    if MODE == "relu":
        return tl.maximum(x, 0.0)
    return 1.0 / (1.0 + tl.exp2(-x))


@triton.jit
def pull_back(x, of_weight, lse, delta, MODE: tl.constexpr):
    """(weights, gradient of the natural logits) from the logits and the gradient of the weights."""
    if MODE == "softmax":
        weight = tl.exp2(x - lse)
        return weight, weight * (of_weight - delta)
    weight = weigh(x, MODE)
    if MODE == "relu":
        return weight, tl.where(x > 0.0, of_weight, 0.0)
    return weight, weight * (1.0 - weight) * of_weight


@triton.jit
def sum_diagonals(tile, SIZE: tl.constexpr):
    """The sums over m - n = p - SIZE and over m - n = p, for p = 0 .. SIZE - 1, of a square tile (n, m).

    Each row is turned by its number, so that diagonals become columns: those that ran over the end are the lower ones.
    """
    row, p = tl.arange(0, SIZE)[:, None], tl.arange(0, SIZE)[None, :]
    turned = tl.gather(tile, (p + row) % SIZE, 1)
    ran_over = p + row >= SIZE
    return tl.sum(tl.where(ran_over, turned, 0.0), 0), tl.sum(tl.where(ran_over, 0.0, turned), 0)
