"""Norms with a residual in front, on CUDA: one forward and one backward kernel for every kind.

Source: the equations of :mod:`unimodal.kernels.norm`. Rows and gradients of the parameters in two steps as in Triton's
tutorial 05 (layer norm), here with a fixed order of the sums instead of locks.
Axes: R rows (tokens), D channels, P programs.

A program keeps whole rows in registers, so x is read once. In the backward pass each of P programs goes through its
rows with a partial sum a channel, and the P partial sums are added afterwards: the same bits at every call.
"""

# pyright: reportArgumentType=false, reportCallIssue=false
# (the checker reads a kernel as Python, without the launch that gives a constant its value)

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["WIDEST", "backward", "forward", "tiling"]

WIDEST = 8192  # channels of a row whose values, gradients and partial sums fit the registers of 512 threads
PROGRAMS = 256  # of the backward pass

# (rows of a tile, warps) by the power of two that holds a row: 8 to 16 values a thread.
TILINGS = {16: (64, 4), 32: (32, 4), 64: (16, 4), 128: (8, 4), 256: (4, 4), 512: (2, 4)}
TILINGS |= {1024: (1, 4), 2048: (1, 8), 4096: (1, 16), 8192: (1, 32)}


def tiling(width: int) -> tuple[int, int, int]:
    """Rows of a tile, its channels (a power of two) and the warps for rows of ``width`` channels."""
    block = max(16, triton.next_power_of_2(width))
    return TILINGS[block][0], block, TILINGS[block][1]


def forward(
    x: Tensor, residual: Tensor | None, weight: Tensor | None, bias: Tensor | None, kind: str, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The norm of x + residual, that sum in x's dtype (empty without a residual), and the scale of each token.

    The norm reads the sum before it is rounded to x's dtype.

    Shapes:
        x, residual: (..., D);  returns (..., D), (..., D) or (0,), and (..., 1) in float32 (of affine: unwritten).
    """
    x = x.contiguous()
    residual = None if residual is None else residual.contiguous()
    y, scale = torch.empty_like(x), x.new_empty(*x.shape[:-1], 1, dtype=torch.float32)
    total = x.new_empty(0) if residual is None else torch.empty_like(x)
    rows, block, warps = tiling(x.shape[-1])
    count = scale.numel()
    if count:
        sums = None if residual is None else total
        arguments = (x, residual, weight, bias, y, sums, scale, count, x.shape[-1], eps)
        _forward[(triton.cdiv(count, rows),)](*arguments, KIND=kind, ROWS=rows, BLOCK=block, num_warps=warps)
    return y, total, scale


def backward(
    grad: Tensor, grad_total: Tensor | None, total: Tensor, weight: Tensor | None, scale: Tensor, kind: str
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of x (and of the residual: the same), weight and bias, the last two in float32.

    Args:
        grad_total: What reaches the sum by another way, or None.
        total: The sum that was normed.
    """
    grad, total = grad.contiguous(), total.contiguous()
    grad_total = None if grad_total is None else grad_total.contiguous()
    width, count = total.shape[-1], scale.numel()
    rows, block, warps = tiling(width)
    programs = min(PROGRAMS, triton.cdiv(count, rows))
    of_x, partial = torch.empty_like(total), total.new_empty(2, programs, width, dtype=torch.float32)
    if count:
        arguments = (grad, grad_total, total, weight, scale, of_x, *partial, count, width)
        _backward[(programs,)](*arguments, KIND=kind, ROWS=rows, BLOCK=block, num_warps=warps)
    of_weight, of_bias = partial.sum(1)
    return of_x, of_weight, of_bias


@triton.jit
def _forward(
    x,
    residual,
    weight,
    bias,
    y,
    total,
    scale,
    rows,
    width,
    eps,
    KIND: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    channel = tl.arange(0, BLOCK)
    inside = (row < rows)[:, None] & (channel < width)[None, :]
    at = row[:, None] * width + channel[None, :]
    h = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    if residual is not None:
        h += tl.load(residual + at, mask=inside, other=0.0).to(tl.float32)
        tl.store(total + at, h, mask=inside)
    if KIND == "layer":
        h = tl.where(inside, h - tl.sum(h, axis=1)[:, None] / width, 0.0)
    if KIND != "affine":
        square, divisor = tl.sum(h * h, axis=1), width
        if KIND == "crms":
            of_row = tl.sum(h, axis=1)
            square += of_row * of_row
            divisor = width + 1
        r = tl.rsqrt(square / divisor + eps)
        tl.store(scale + row, r, mask=row < rows)
        h = h * r[:, None]
    if weight is not None:
        h *= tl.load(weight + channel, mask=channel < width, other=0.0).to(tl.float32)[None, :]
    if bias is not None:
        h += tl.load(bias + channel, mask=channel < width, other=0.0).to(tl.float32)[None, :]
    tl.store(y + at, h, mask=inside)


@triton.jit
def _backward(
    grad,
    grad_total,
    total,
    weight,
    scale,
    of_x,
    of_weight,
    of_bias,
    rows,
    width,
    KIND: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    channel = tl.arange(0, BLOCK)
    real = channel < width
    gain = tl.full((BLOCK,), 1.0, tl.float32)
    if weight is not None:
        gain = tl.load(weight + channel, mask=real, other=0.0).to(tl.float32)
    sum_weight = tl.zeros((ROWS, BLOCK), tl.float32)
    sum_bias = tl.zeros((ROWS, BLOCK), tl.float32)
    for tile in range(tl.program_id(0), tl.cdiv(rows, ROWS), tl.num_programs(0)):
        row = tl.arange(0, ROWS).to(tl.int64) + tile * ROWS
        inside = (row < rows)[:, None] & real[None, :]
        at = row[:, None] * width + channel[None, :]
        h = tl.load(total + at, mask=inside, other=0.0).to(tl.float32)
        g = tl.load(grad + at, mask=inside, other=0.0).to(tl.float32)
        sum_bias += g
        if KIND == "affine":
            sum_weight += g * h
            d = g * gain[None, :]
        else:
            r = tl.load(scale + row, mask=row < rows, other=0.0)[:, None]
            if KIND == "layer":
                h = tl.where(inside, h - tl.sum(h, axis=1)[:, None] / width, 0.0)
            unit = h * r
            sum_weight += g * unit
            g *= gain[None, :]
            along = tl.sum(g * unit, axis=1)[:, None]
            if KIND == "layer":
                d = r * (g - (tl.sum(g, axis=1)[:, None] + unit * along) / width)
            elif KIND == "crms":
                d = r * (g - (unit + tl.sum(unit, axis=1)[:, None]) * along / (width + 1))
            else:
                d = r * (g - unit * along / width)
        if grad_total is not None:
            d += tl.load(grad_total + at, mask=inside, other=0.0).to(tl.float32)
        tl.store(of_x + at, d, mask=inside)
    here = tl.program_id(0) * width + channel
    tl.store(of_weight + here, tl.sum(sum_weight, axis=0), mask=real)
    tl.store(of_bias + here, tl.sum(sum_bias, axis=0), mask=real)
