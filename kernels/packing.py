"""Packing: rows of different lengths end to end in one row without padding, and back.

Source: Zhai et al. 2023, arXiv:2210.03052, sec. III-D (the zero-padding algorithm: prefix sums of the lengths map
packed to padded rows; everything token-wise then runs on the real tokens alone).
Axes: B rows, N tokens a row, T real tokens in all, ... any trailing axes.

Tolerance of the fast paths against :func:`reference`: none, every value is copied as it is.
"""

from typing import Any

import torch
from torch import Tensor

from unimodal.kernels.dispatch import Choice, Wish, decide

__all__ = ["choose", "pack", "reference", "reference_unpack", "unpack"]

TORCH, TRITON = "slices or one gather in torch", "Triton kernel"
# Bytes of a mean sequence from which one copy a sequence is faster than one index for all tokens.
_SLICES_FROM, _ROWS_FROM = 1 << 18, 1 << 14


def pack(x: Tensor, lengths: Tensor, *, total: int | None = None, implementation: Wish = "auto") -> Tensor:
    """The first ``lengths[b]`` tokens of each row b, end to end in one row.

    Padding is not read: what it holds (also NaN) has no influence, and its gradient is 0. Where no row has any, the
    result is a view.

    Args:
        lengths: (B,) integers from 0 to N, on x's device.
        total: Their sum T where the caller knows it, so that a graphics processor need not be waited for. It is
            believed, as the lengths are then.
        implementation: See :mod:`unimodal.kernels.dispatch`.

    Shapes:
        x: (B, N, ...);  returns (1, T, ...) in x's dtype.

    Raises:
        ValueError: there is not one length a row, or one is outside 0..N.
        RuntimeError: ``implementation="require"`` and no fast path fits.

    Cost: O(T) reads and writes.
    """
    _check_axes(x, lengths, x.shape[0])
    if total is None and not torch.compiler.is_compiling():
        known = lengths.tolist()
        if known and (min(known) < 0 or max(known) > x.shape[1]):
            raise ValueError(f"lengths must lie in 0..{x.shape[1]}, the tokens of a row, not {known}")
        total = sum(known)
        if total == x.shape[0] * x.shape[1]:
            return x.flatten(0, 1)[None]
    if choose(x, implementation=implementation).implementation == "reference":
        return reference(x, lengths)
    return torch.ops.unimodal.pack(x, lengths, total)


def unpack(x: Tensor, lengths: Tensor, *, tokens: int | None = None, implementation: Wish = "auto") -> Tensor:
    """The inverse of :func:`pack`: sequence b becomes row b, and zeros fill the rest of it.

    Args:
        lengths: (B,) integers whose sum is T, on x's device.
        tokens: N; None means the longest length, which is then read from the device.
        implementation: See :mod:`unimodal.kernels.dispatch`.

    Shapes:
        x: (1, T, ...);  returns (B, N, ...) in x's dtype; a view where all lengths are N.

    Raises:
        ValueError: x has more than one row, the lengths do not sum to T, or one is outside 0..N.
        RuntimeError: ``implementation="require"`` and no fast path fits.

    Cost: O(T) reads, O(B N) writes.
    """
    _check_axes(x, lengths, lengths.shape[0] if lengths.ndim == 1 else -1)
    if x.shape[0] != 1:
        raise ValueError(f"a packed batch has one row, not {x.shape[0]}")
    if tokens is None or not torch.compiler.is_compiling():
        known = lengths.tolist()
        tokens = max(known, default=0) if tokens is None else tokens
        if sum(known) != x.shape[1] or (known and (min(known) < 0 or max(known) > tokens)):
            raise ValueError(f"lengths must lie in 0..{tokens} and sum to {x.shape[1]} tokens, not {known}")
        if x.shape[1] == len(known) * tokens:
            return x.unflatten(1, (len(known), tokens))[0] if known else x.reshape(0, tokens, *x.shape[2:])
    if choose(x, implementation=implementation).implementation == "reference":
        return reference_unpack(x, lengths, tokens=tokens)
    return torch.ops.unimodal.unpack(x, lengths, tokens)


def choose(x: Tensor, *, implementation: Wish = "auto") -> Choice:
    """Which implementation these arguments get, and why."""
    refusal = None if x.device.type in ("cpu", "cuda") else f"no fast path was written for {x.device.type}"
    if x.is_cuda and x.element_size() > 8:
        refusal = f"the kernel moves values of up to 8 bytes, not {x.dtype}"
    return decide(implementation, TRITON if x.is_cuda else TORCH, refusal)


def reference(x: Tensor, lengths: Tensor) -> Tensor:
    """:func:`pack` by a boolean mask."""
    return x[_real(lengths, x.shape[1])][None]


def reference_unpack(x: Tensor, lengths: Tensor, *, tokens: int) -> Tensor:
    """:func:`unpack` by a boolean mask."""
    rows = x.new_zeros(lengths.shape[0], tokens, *x.shape[2:])
    rows[_real(lengths, tokens)] = x[0]
    return rows


def _real(lengths: Tensor, tokens: int) -> Tensor:
    return torch.arange(tokens, device=lengths.device) < lengths[:, None]


def _check_axes(x: Tensor, lengths: Tensor, rows: int) -> None:
    if x.ndim < 2 or lengths.shape != (rows,):
        raise ValueError(
            f"x has the axes (B, N, ...) and lengths (B,), not {tuple(x.shape)} and {tuple(lengths.shape)}"
        )


# Defined by schema: torch.library.custom_op imports the compiler, which takes seconds, at the first call.
torch.library.define("unimodal::pack", "(Tensor x, Tensor lengths, SymInt? total) -> Tensor")
torch.library.define("unimodal::unpack", "(Tensor x, Tensor lengths, SymInt tokens) -> Tensor")


@torch.library.impl("unimodal::pack", "CompositeExplicitAutograd")
def _pack(x: Tensor, lengths: Tensor, total: int | None) -> Tensor:
    if x.is_cuda:
        from unimodal.kernels import packing_triton

        return packing_triton.pack(x, lengths, int(lengths.sum()) if total is None else total)
    known = lengths.tolist()
    if x.is_contiguous() and _bytes(x) * sum(known) < _SLICES_FROM * len(known):
        at = _real(lengths, x.shape[1]).flatten().nonzero()[:, 0]
        return x.flatten(0, 1).index_select(0, at)[None]
    return torch.cat([row[:n] for row, n in zip(x, known, strict=True)] or [x.new_empty(0, *x.shape[2:])])[None]


@torch.library.impl("unimodal::unpack", "CompositeExplicitAutograd")
def _unpack(x: Tensor, lengths: Tensor, tokens: int) -> Tensor:
    if x.is_cuda:
        from unimodal.kernels import packing_triton

        return packing_triton.unpack(x, lengths, tokens)
    known = lengths.tolist()
    if _bytes(x) * sum(known) < _ROWS_FROM * len(known):
        rows = x.new_zeros(len(known) * tokens, *x.shape[2:])
        return rows.index_copy_(0, _real(lengths, tokens).flatten().nonzero()[:, 0], x[0]).unflatten(
            0, (len(known), tokens)
        )
    zeros = x.new_zeros(tokens - min(known), *x.shape[2:])
    pieces = [piece for row in x[0].split(known) for piece in (row, zeros[: tokens - row.shape[0]])]
    return torch.cat(pieces).unflatten(0, (len(known), tokens))


def _bytes(x: Tensor) -> int:
    """Of one token."""
    return x[:1, :1].numel() * x.element_size() if x.numel() else 0


@torch.library.register_fake("unimodal::pack")
def _(x: Tensor, lengths: Tensor, total: int | None) -> Tensor:
    return x.new_empty(1, torch.library.get_ctx().new_dynamic_size() if total is None else total, *x.shape[2:])


@torch.library.register_fake("unimodal::unpack")
def _(x: Tensor, lengths: Tensor, tokens: int) -> Tensor:
    return x.new_empty(lengths.shape[0], tokens, *x.shape[2:])


def _save_of_pack(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])
    ctx.tokens = inputs[0].shape[1]


def _save_of_unpack(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(inputs[1])
    ctx.total = inputs[0].shape[1]


def _gradient_of_pack(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    return torch.ops.unimodal.unpack(grad, ctx.saved_tensors[0], ctx.tokens), None, None


def _gradient_of_unpack(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    return torch.ops.unimodal.pack(grad, ctx.saved_tensors[0], ctx.total), None, None


torch.library.register_autograd("unimodal::pack", _gradient_of_pack, setup_context=_save_of_pack)
torch.library.register_autograd("unimodal::unpack", _gradient_of_unpack, setup_context=_save_of_unpack)
