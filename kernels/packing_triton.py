"""Packing on graphics processors: each block copies some tokens of one row, and padding is neither read nor written.

Source: Zhai et al. 2023, arXiv:2210.03052, sec. III-D.
Axes: B rows, N tokens a row, T real tokens in all, D values a token.

Values are moved as integers of their size, so that every dtype goes the same way and no bit of a NaN changes.
"""

import math
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["pack", "unpack"]

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_TOKENS, _WIDTH = 16, 256  # of a block: 16 kB in float32


def pack(x: Tensor, lengths: Tensor, total: int) -> Tensor:
    """(B, N, ...) to (1, T, ...); lengths that sum to more than ``total`` are cut off there."""
    rows = _flat(x)
    out = rows.new_empty(1, total, rows.shape[2])
    _launch(_pack, rows, out, lengths, rows.shape[1], total)
    return out.view(x.dtype).unflatten(2, x.shape[2:]) if x.ndim > 2 else out.view(x.dtype)[..., 0]


def unpack(x: Tensor, lengths: Tensor, tokens: int) -> Tensor:
    """(1, T, ...) to (B, N, ...), zeros behind each sequence."""
    flat = _flat(x)
    out = flat.new_empty(lengths.shape[0], tokens, flat.shape[2])
    _launch(_unpack, flat, out, lengths, tokens, x.shape[1])
    return out.view(x.dtype).unflatten(2, x.shape[2:]) if x.ndim > 2 else out.view(x.dtype)[..., 0]


def _flat(x: Tensor) -> Tensor:
    return x.contiguous().view(*x.shape[:2], math.prod(x.shape[2:])).view(_INTEGERS[x.element_size()])


def _launch(kernel: Any, source: Tensor, out: Tensor, lengths: Tensor, tokens: int, total: int) -> None:
    width = source.shape[2]
    grid = (lengths.shape[0], triton.cdiv(tokens, _TOKENS), triton.cdiv(width, _WIDTH))
    if 0 in grid:
        return
    starts = lengths.cumsum(0) - lengths
    kernel[grid](source, out, lengths, starts, tokens, total, width, BN=_TOKENS, BD=_WIDTH, num_warps=4)


@triton.jit
def _pack(x, out, lengths, starts, tokens, total, width, BN: tl.constexpr, BD: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    length, start = tl.load(lengths + row), tl.load(starts + row).to(tl.int64)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    d = tl.program_id(2) * BD + tl.arange(0, BD)
    real = (n < length) & (start + n < total)
    copied = real[:, None] & (d < width)[None]
    value = tl.load(x + (row * tokens + n)[:, None] * width + d[None], mask=copied)
    tl.store(out + (start + n)[:, None] * width + d[None], value, mask=copied)


@triton.jit
def _unpack(x, out, lengths, starts, tokens, total, width, BN: tl.constexpr, BD: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    length, start = tl.load(lengths + row), tl.load(starts + row).to(tl.int64)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    d = tl.program_id(2) * BD + tl.arange(0, BD)
    real, inside = (n < length) & (start + n < total), (d < width)[None]
    value = tl.load(x + (start + n)[:, None] * width + d[None], mask=real[:, None] & inside, other=0)
    tl.store(out + (row * tokens + n)[:, None] * width + d[None], value, mask=(n < tokens)[:, None] & inside)
