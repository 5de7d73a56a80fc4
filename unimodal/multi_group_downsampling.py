"""Multi-group downsampling: one strided convolution, trained as a sum of dense and grouped ones, each with its norm.

Source: Tan et al. 2023, arXiv:2311.05707 (convolutional multi-group reparameterisation; its code was never released, so
the sets of branches are ours); with a stride: Ding et al. 2021, arXiv:2101.03697, sec. 3.2 and 3.3.
Axes: B rows, N tokens, M tokens after it, D width before, E width after.
"""

import math
from typing import Any

import torch
import torch.nn as nn

from unimodal.downsampling import Downsampling
from unimodal.norms.batch import BatchNorm
from unimodal.part import Part
from unimodal.summed_kernel import Branch, summed_kernel
from unimodal.tokens import Tokens

__all__ = ["MultiGroupDownsampling"]


class MultiGroupDownsampling(nn.Module):
    """y = sum_i norm_i(conv_i(x)), conv_i of k_i x k_i cells every S in g_i groups: one convolution (:meth:`deployed`).

    Each is a :class:`~unimodal.downsampling.Downsampling` with (k_i - 1) / 2 zeros around the lattice, so that all have
    their middles in the same cells. There is no identity: x has more tokens than y.

    Args:
        dim: Width D.
        width: Width E.
        branches: Pairs (k, g), k odd, g dividing D and E.
        stride: S in cells.

    Shapes:
        tokens: x (B, N, D) on a lattice of two axes;  returns Tokens with x (B, M, E) and the new lattice.

    Raises:
        ValueError: no branches or an even kernel; what :class:`~unimodal.downsampling.Downsampling` refuses.
    """

    def __init__(
        self, dim: int, *, width: int, branches: tuple[tuple[int, int], ...] = ((3, 1), (1, 1), (3, 4)), stride: int = 2
    ) -> None:
        super().__init__()
        if not branches or any(kernel % 2 == 0 for kernel, _ in branches):
            raise ValueError(f"branches must be pairs of an odd kernel and groups, at least one, not {branches}")
        self.width, self.stride, self.dim = width, stride, dim
        self.branches = nn.ModuleList(
            Downsampling(dim, width=width, kernel=k, stride=stride, groups=g, behind=Part(BatchNorm), bias=False)
            for k, g in branches
        )

    def forward(self, tokens: Tokens) -> Tokens:
        first, *others = [branch(tokens) for branch in self.branches]
        return first.replace(sum((other.x for other in others), first.x))

    def deployed(self) -> Downsampling:
        """One strided convolution with the same outputs in use; folded in float64."""
        branches = [_branch(made) for made in self.branches]
        kernel, groups = max(b.weight.shape[-1] for b in branches), math.gcd(*(b.groups for b in branches))
        weight, bias = summed_kernel(branches, kernel=kernel, groups=groups)
        made = Downsampling(self.dim, width=self.width, kernel=kernel, stride=self.stride, groups=groups, behind=None)
        like = branches[0].weight.detach()
        made.convolution.weight, made.convolution.bias = nn.Parameter(weight.to(like)), nn.Parameter(bias.to(like))
        return made.train(self.training)


def _branch(made: Any) -> Branch:
    """With its norm, or with the bias that the norm has become."""
    layer = made.convolution
    if made.behind is not None:
        return Branch(layer.weight, made.behind.affine(), layer.groups)
    ones_E = torch.ones_like(layer.bias, dtype=torch.float64)
    return Branch(layer.weight, (ones_E, layer.bias.double()), layer.groups)
