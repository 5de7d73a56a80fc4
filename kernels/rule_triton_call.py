"""From the tensors of a call to the launches of the rule kernels: arguments by name, grids, and the table's row.

Source: Triton 3.8, launch of ``triton.jit`` functions; the equations of :mod:`unimodal.kernels.rule`.
Axes: B batch, H heads, G key heads, N queries, M keys, K key width, V value width, S packed sequences, O offsets.

Packed sequences are found by a table of blocks that is made on the device: a launch does not wait for their lengths.
Tensors may lie on ``meta``: then the launches can be compiled (:mod:`unimodal.kernels.ahead_of_time`), not made.
"""

from dataclasses import dataclass
from typing import Any

import torch
import triton
from torch import Tensor

from unimodal.kernels.launch_table import Launch, launch_of
from unimodal.kernels.rule import WEIGHTS, Rule
from unimodal.kernels.rule_triton_tile import unit
from unimodal.kernels.tile_work import Terms

__all__ = ["Call", "Problem", "address"]


@dataclass(frozen=True, eq=False)
class Call:
    """One launch of a kernel, not made yet."""

    kernel: Any
    grid: tuple[int, int, int]
    named: dict[str, Any]
    launch: Launch

    def __call__(self) -> None:
        self.kernel[self.grid](**self.named, num_warps=self.launch.warps, num_stages=self.launch.stages)


@dataclass(frozen=True, eq=False)
class Problem:
    """What all kernels of the family are asked about; the last axis of q, k and v is dense.

    Args:
        launches: Rows to take instead of the table's, by the kernel's kind.
        architecture: Compute capability times ten; None for that of q's device.
    """

    q: Tensor
    k: Tensor
    v: Tensor
    rule: Rule
    terms: Terms
    launches: dict[str, Launch] | None = None
    architecture: int | None = None

    @property
    def normalised(self) -> bool:
        return WEIGHTS[self.rule.weights].normalised

    def launch(self, kind: str) -> Launch:
        """The table's row for a kernel: forward, queries, keys, diagonals or bias."""
        if self.launches is not None and kind in self.launches:
            return self.launches[kind]
        if self.architecture is None and self.q.device.type == "cpu":
            return launch_of(kind)  # the interpreter
        architecture = self.architecture or 10 * torch.cuda.get_device_capability(self.q.device)[0]
        terms = (self.terms.before, self.terms.after, self.terms.bias, self.terms.mask)
        return launch_of(
            kind,
            architecture=architecture,
            width=max(_width(self.q.shape[3]), _width(self.v.shape[3])),
            bits=8 * self.q.element_size(),
            plain=all(t is None for t in terms),
        )

    def blocks(self, tokens: int, size: int, heads: int) -> tuple[tuple[int, int, int], tuple[Tensor, ...] | None]:
        """The grid over blocks of ``size`` tokens, heads and rows, and for packed sequences which block is whose."""
        if self.terms.cu_seqlens is None:
            return (triton.cdiv(tokens, size), heads, self.q.shape[0]), None
        packed = _packed_blocks(self.terms.cu_seqlens, tokens, size)
        return (packed[1].shape[0], heads, 1), packed

    def arguments(self, launch: Launch) -> dict[str, Any]:
        """What every kernel is given, by the names of its arguments.

        Raises:
            ValueError: the kernels do not have the rule's weights.
        """
        q, k, v, rule, terms = self.q, self.k, self.v, self.rule, self.terms
        mode, pairs = WEIGHTS[rule.weights].mode, (*q.shape[:3], k.shape[2])
        if mode is None:
            raise ValueError(f"the kernels do not have the weights {rule.weights!r}")
        units = unit(mode)
        return {
            "q": address(q),
            "k": address(k),
            "v": address(v),
            "before": _diagonals(terms.before, units),
            "after": _diagonals(terms.after, 1.0),
            "bias": None if terms.bias is None else _pairs(terms.bias, pairs),
            "mask": None if terms.mask is None else _pairs(terms.mask.view(torch.uint8), pairs),
            "lengths": terms.lengths,
            "sizes": (q.shape[2], k.shape[2], q.shape[1] // k.shape[1]),
            "window": rule.window,
            "scale": (q.shape[3] ** -0.5 if rule.scale is None else rule.scale) * units,
            "level": None if rule.level is None else rule.level * units,
            "MODE": mode,
            "CAUSAL": rule.causal,
            "K": q.shape[3],
            "V": v.shape[3],
            "KW": _width(q.shape[3]),
            "VW": _width(v.shape[3]),
            "BM": launch.queries,
            "BN": launch.keys,
            "PRECISION": "ieee" if q.dtype == torch.float32 else "tf32",
            "UP": q.device.type == "cpu",
        }


def address(x: Tensor) -> tuple[Any, ...]:
    """A tensor and the strides of its leading axes."""
    return (x, *x.stride()[:3])


def _width(size: int) -> int:
    """A head's width in a tile: a power of two that a tensor core takes."""
    return max(16, triton.next_power_of_2(size))


def _diagonals(term: Tensor | None, units: float) -> tuple[Any, ...] | None:
    if term is None:
        return None
    own = (term.float() * units).contiguous()
    return own, own.stride(0) if own.shape[0] > 1 else 0, own.shape[1] // 2


def _pairs(term: Tensor, shape: tuple[int, ...]) -> tuple[Any, ...]:
    whole = term.expand(shape)
    return (whole, *whole.stride())


def _packed_blocks(cu_seqlens: Tensor, tokens: int, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Boundaries (S + 1,), the sequence of each block, and each sequence's first block.

    There are as many blocks as the sequences can have at most; the spare ones lie behind the last sequence's end.
    """
    count = (cu_seqlens.diff() + (size - 1)) // size
    ends = count.cumsum(0)
    block = torch.arange(tokens // size + count.shape[0], device=cu_seqlens.device)
    owner = torch.searchsorted(ends, block, right=True).clamp_max_(count.shape[0] - 1)
    return cu_seqlens.int(), owner.int(), (ends - count).int()
