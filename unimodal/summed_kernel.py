"""Summed kernel: one convolution that gives what several give together, each with a norm that is affine in use.

Source: Ding et al. 2021, arXiv:2101.03697, sec. 3.3 and fig. 4 (sums of branches with norms); dilated kernels: Ding et
al. 2024, arXiv:2311.15599.
Axes: E channels that are written, D channels that are read, G groups, K kernel.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["Branch", "summed_kernel"]


class Branch(NamedTuple):
    """A convolution without a bias and the factor and shift behind it; its weight is (E, D / G, k, k)."""

    weight: Tensor
    affine: tuple[Tensor, Tensor]
    groups: int = 1
    dilation: int = 1


def summed_kernel(branches: Iterable[Branch], *, kernel: int, groups: int = 1) -> tuple[Tensor, Tensor]:
    """Weight (E, D / G, K, K) and bias (E,) of the sum, in float64.

    A kernel k with dilation r is one of r (k - 1) + 1 that is zero between the places it looks at, and around them one
    of K; one of g groups is one of fewer that is zero off its blocks.

    Args:
        branches: All of the same D and E, whose dilated kernels fit into K with the same middle.
        kernel: K.
        groups: G of the result; it divides the groups of every branch.
    """
    total: Any = 0.0
    bias: Any = 0.0
    with torch.no_grad():
        for branch in branches:
            factor_E, shift_E = branch.affine
            scaled = branch.weight.double() * factor_E[:, None, None, None]
            total = total + _embedded(scaled, branch.groups, branch.dilation, kernel, groups)
            bias = bias + shift_E
    return total, bias


def _embedded(weight: Tensor, from_groups: int, dilation: int, kernel: int, groups: int) -> Tensor:
    """The same convolution with a larger kernel and fewer groups, zero wherever this one has nothing."""
    blocks, (written, read) = from_groups // groups, weight.shape[:2]
    reach = dilation * (weight.shape[-1] // 2)
    places = slice(kernel // 2 - reach, kernel // 2 + reach + 1, dilation)
    made = weight.new_zeros(groups, blocks, written // from_groups, blocks, read, kernel, kernel)
    cells = weight.unflatten(0, (groups, blocks, -1)).movedim(1, -1)
    made[..., places, places].diagonal(0, 1, 3).copy_(cells)
    return made.flatten(3, 4).flatten(0, 2)
