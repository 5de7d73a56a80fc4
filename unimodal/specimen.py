"""Specimen: a part of any family under test, built small and called alike, with inputs of every layout.

Axes: B rows, N tokens, D width, S sequences, H heads, K head width, E output width.
"""

import inspect
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.downsampling import Downsampling
from unimodal.mixers.full import Full
from unimodal.norms.batch import BatchNorm
from unimodal.part import Part
from unimodal.readouts.mean import Mean
from unimodal.side import Side
from unimodal.tokens import Tokens

__all__ = ["DIM", "GRIDS", "PREFIX", "REQUIRED", "Specimen", "changed", "padded", "uniform"]

DIM, HEADS, PREFIX, GRID, GRIDS = 24, 3, 2, (2, 3), ((2, 3), (3, 4), (1, 2))

# What a required keyword parameter gets when nothing is given, by the parameter's name.
REQUIRED = MappingProxyType(
    {
        "heads": HEADS,
        "width": DIM // HEADS,
        "grid": GRID,
        "groups": HEADS,
        "pool": Part(Mean),
        "mixer": Part(Full, heads=HEADS),
        "reduce": Part(Downsampling, width=DIM),
        "parts": (Part(BatchNorm),),
        "readout": Part(Mean),
    }
)


class Specimen:
    """One class with the keywords it is built with.

    Args:
        family: attention, mixers, norms, ffns, positions, readouts or stems.
        cls: The part's class.
        kwargs: Its keyword arguments; required ones that are absent come from :data:`REQUIRED`.

    Raises:
        ValueError: a required keyword is neither given nor in :data:`REQUIRED`.
    """

    def __init__(self, family: str, cls: Callable[..., nn.Module], **kwargs: Any) -> None:
        parameters = inspect.signature(cls).parameters.values()
        needed = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
        needed = [name for name in needed if name not in kwargs]
        if unknown := [name for name in needed if name not in REQUIRED]:
            raise ValueError(f"{cls.__qualname__} needs {', '.join(unknown)}: give a value to the check")
        self.family, self.part = family, Part(cls, **{name: REQUIRED[name] for name in needed}, **kwargs)
        self.of_heads = family == "attention" or getattr(cls, "applies_to", "tokens") == "heads"

    def build(self, dtype: torch.dtype = torch.float32, *, seed: int = 1) -> nn.Module:
        """The module in eval mode; one seed gives the same initial weights."""
        torch.manual_seed(seed)
        sizes = () if self.family == "attention" else (DIM // HEADS if self.of_heads else DIM,)
        return self.part(*sizes).to(dtype).eval()

    @property
    def axes(self) -> tuple[int, ...]:
        """How many axes the inputs of a stem have: 2 (images), 3 (volumes, if its ``axes`` says so) or either."""
        axes = getattr(self.part.cls, "axes", 2)
        return axes if isinstance(axes, tuple) else (axes,)

    def inputs(self, dtype: torch.dtype = torch.float32, axes: int | None = None) -> Any:
        """A uniform batch of three: tokens, or for a stem images or volumes of odd sizes."""
        if self.family != "stems":
            return uniform(dtype)
        sizes = (37, 50) if (axes or self.axes[0]) == 2 else (9, 37, 50)
        return torch.randn(3, 3, *sizes, generator=torch.Generator().manual_seed(4)).to(dtype)

    def run(self, module: nn.Module, inputs: Any) -> Tensor:
        """(B, N, D) where tokens become tokens, (S, E) of a readout, a feature map of a stem."""
        if self.family in ("readouts", "stems"):
            return module(inputs)
        x, side = inputs.x, inputs.side
        if not self.of_heads:
            return module(x, side)
        h_BHNK = x.unflatten(-1, (HEADS, -1)).transpose(1, 2)
        heads = (h_BHNK, h_BHNK.roll(1, -1), h_BHNK.roll(2, -1)) if self.family == "attention" else (h_BHNK,)
        return module(*heads, side).transpose(1, 2).flatten(2)

    def sequences(self, module: nn.Module, tokens: Tokens) -> list[Tensor]:
        """What belongs to each sequence, without padding."""
        out = self.run(module, tokens)
        return list(out) if self.family == "readouts" else tokens.replace(out).split()

    def refuses(self, constraint: str, module: nn.Module, tokens: Tokens) -> bool:
        """Whether the part raises a ValueError about ``constraint``.

        Raises:
            AssertionError: it raises one that does not name the constraint.
        """
        try:
            self.run(module, tokens)
        except ValueError as error:
            if constraint not in str(error):
                raise AssertionError(f"refused without naming the constraint {constraint!r}: {error}") from error
            return True
        return False


def uniform(dtype: torch.dtype = torch.float32, **side: Any) -> Tokens:
    """Three rows of two prefix tokens and a lattice of six."""
    x = torch.randn(3, PREFIX + GRID[0] * GRID[1], DIM, generator=torch.Generator().manual_seed(2))
    return Tokens(x.to(dtype), Side(grid=GRID, prefix=PREFIX, **side))


def padded(**side: Any) -> Tokens:
    """Rows of 8, 14 and 4 real tokens, of 15."""
    lengths = torch.tensor([PREFIX + rows * columns for rows, columns in GRIDS])
    x = torch.randn(len(GRIDS), 15, DIM, generator=torch.Generator().manual_seed(3))
    return Tokens(x, Side(grids=GRIDS, prefix=PREFIX, lengths=lengths, **side))


def changed(x: Tensor, *place: Any) -> Tensor:
    """A copy with other values at ``x[place]``."""
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(5)).to(x.dtype)
    out = x.detach().clone()
    out[place] += 3.0 * noise[place]
    return out
