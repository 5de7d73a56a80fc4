"""Pyramid: stages one after another, with fewer and wider tokens from each to the next.

Source: feature hierarchies of a network's stages: Lin et al. 2016, arXiv:1612.03144, sec. 3 (bottom-up pathway); with
tokens: Wang et al. 2021, arXiv:2102.12122, sec. 3.1.
Axes: B rows, N tokens, D width of the first stage, E width of the last one.
"""

from collections.abc import Sequence
from typing import Any

import torch.nn as nn

from unimodal.part import Part
from unimodal.stride_product import stride_product
from unimodal.tokens import Tokens

__all__ = ["Pyramid"]


class Pyramid(nn.Module):
    """x_1 = stage_1(x),  x_i = stage_i(between_(i-1)(x_(i-1))).

    A stage is any core, say a :class:`~unimodal.transformer.Transformer` of blocks whose mixers read the lattice; what
    lies between two of them says how wide the tokens become and by how much each axis of the lattice shrinks
    (``width``, ``stride``); a stage that changes the width says so too. Lattices of every size go through, odd ones
    too: each feature's own side says its lattice.

    ``strides[i]`` is how many cells of the incoming lattice one of :meth:`features` ``[i]`` spans along an axis (one
    number an axis where what lies between has one), and ``widths[i]`` its width, 0 being what comes in.

    Args:
        dim: Width D of the tokens that come in and of the first stage.
        stages: A core part a stage.
        between: Parts between them, one fewer, e.g. :class:`~unimodal.downsampling.Downsampling`.

    Shapes:
        tokens: x (B, N, D);  returns the last stage's Tokens, of width E (``width``).

    Raises:
        ValueError: no stages, or not one part fewer between them; a depth asked of :meth:`features` does not exist;
            what the parts refuse.
    """

    def __init__(self, dim: int, *, stages: tuple[Part, ...], between: tuple[Part, ...] = ()) -> None:
        super().__init__()
        if not stages or len(between) != len(stages) - 1:
            raise ValueError(f"{len(stages)} stages need {max(len(stages) - 1, 1)} parts between, not {len(between)}")
        first: Any = stages[0](dim)
        self.stages, self.between = nn.ModuleList([first]), nn.ModuleList()
        widths, strides = [dim, getattr(first, "width", dim)], list[Any]([1, 1])
        for stage, shrink in zip(stages[1:], between, strict=True):
            made: Any = shrink(widths[-1])
            self.between.append(made)
            core: Any = stage(made.width)
            self.stages.append(core)
            widths.append(getattr(core, "width", made.width))
            strides.append(stride_product(strides[-1], made.stride))
        self.widths, self.strides, self.width = tuple(widths), tuple(strides), widths[-1]

    def forward(self, tokens: Tokens) -> Tokens:
        return self.features(tokens, [len(self.stages)])[0]

    def features(self, tokens: Tokens, depths: Sequence[int]) -> list[Tokens]:
        """The tokens behind each of ``depths`` stages (0 = before the first)."""
        bad = [d for d in depths if not 0 <= d <= len(self.stages)]
        if bad or list(depths) != sorted(depths):
            raise ValueError(f"depths must ascend within 0..{len(self.stages)}, not {list(depths)}")
        kept = [tokens] * list(depths).count(0)
        for i in range(1, max(depths, default=0) + 1):
            tokens = self.stages[i - 1](tokens if i == 1 else self.between[i - 2](tokens))
            kept += [tokens] * list(depths).count(i)
        return kept
