"""Multi-group map: one convolution, trained as a sum of dense and grouped ones, each with its norm.

Source: Tan et al. 2023, arXiv:2311.05707 (convolutional multi-group reparameterisation, gMLP; its code was never
released, so the sets of branches are ours); the fold: Ding et al. 2021, arXiv:2101.03697, sec. 3.3.
Axes: B rows, N tokens, D width, E output width, G groups, K kernel.
"""

import math
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.ffns.linear import Linear
from unimodal.lattice_convolution import convolve_lattice
from unimodal.mixers.convolution import Convolution
from unimodal.norms.batch import BatchNorm
from unimodal.side import Side
from unimodal.summed_kernel import Branch, summed_kernel

__all__ = ["MultiGroup"]


class MultiGroup(nn.Module):
    """y = sum_i norm_i(conv_i(x)) [+ norm_0(x)], conv_i of k_i x k_i cells in g_i groups, every norm a batch norm.

    In use a batch norm is one factor and one shift a channel, a grouped kernel is a dense one that is zero off its
    blocks, and one cell is the middle of three. So in use all of this is one map (:meth:`deployed`): a
    :class:`~unimodal.ffns.linear.Linear` where all kernels have one cell, otherwise a
    :class:`~unimodal.mixers.convolution.Convolution` of as many groups as all have in common.

    With kernels of one cell only, no lattice is needed and prefix tokens are mapped like all others. Otherwise they are
    off the lattice: each branch gives them its norm of 0.

    Args:
        dim: Width D.
        branches: Pairs (k, g), k odd, g dividing D and E.
        width: E, or None for D.
        identity: Whether x itself, normed, is a branch; only with E = D.
        eps: Of the norms, in squared units of x.

    Shapes:
        x: (B, N, D), on a lattice of two axes if a kernel has several cells;  returns (B, N, E).

    Raises:
        ValueError: no branches; an identity between widths that differ; a mask, bias, memory or causal order is set;
            what :class:`~unimodal.mixers.convolution.Convolution` and, while training, the norm refuse.

    Cost: O(B N D E sum k^2 / g) while training, O(B N D E K^2 / G) in use. The one map has
        fewer parameters where a branch has the largest kernel and G groups (1 where all kernels have one cell).
    """

    def __init__(
        self,
        dim: int,
        *,
        branches: tuple[tuple[int, int], ...] = ((1, 1), (1, 2), (1, 4)),
        width: int | None = None,
        identity: bool = False,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.width = dim if width is None else width
        if not branches:
            raise ValueError("branches must have at least one pair of a kernel and groups")
        if identity and self.width != dim:
            raise ValueError(f"identity needs one width on both sides, not {dim} and {self.width}")
        self.kernel = max(kernel for kernel, _ in branches)
        self.convolutions = nn.ModuleList(
            Convolution(dim, kernel=kernel, groups=groups, width=self.width, bias=False) for kernel, groups in branches
        )
        self.norms = nn.ModuleList(BatchNorm(self.width, eps=eps) for _ in branches)
        self.norm_identity = BatchNorm(dim, eps=eps) if identity else None

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        side.honour("lengths", "cu_seqlens")
        (first, *others), (norm, *norms) = self.convolutions, self.norms
        y = norm(self._mapped(first, x, side), side)
        for convolution, norm in zip(others, norms, strict=True):
            y = y + norm(self._mapped(convolution, x, side), side)
        if self.norm_identity is None:
            return y
        return y + self.norm_identity(x if self.kernel == 1 else convolve_lattice(_same, x, side), side)

    def deployed(self) -> Linear | Convolution:
        """One map with the same outputs in use; folded in float64."""
        pairs: Any = list(zip(self.convolutions, self.norms, strict=True))
        branches = [Branch(made.weight, norm.affine(), made.groups) for made, norm in pairs]
        groups = 1 if self.kernel == 1 else math.gcd(*(branch.groups for branch in branches))
        like = branches[0].weight.detach()
        if self.norm_identity is not None:
            branches.append(Branch(like.new_ones(self.width, 1, 1, 1), self.norm_identity.affine(), self.width))
        weight, bias = summed_kernel(branches, kernel=self.kernel, groups=groups)
        if self.kernel == 1:
            linear = Linear(weight.shape[1], width=self.width)
            linear.project.weight = nn.Parameter(weight.flatten(1).to(like))
            linear.project.bias = nn.Parameter(bias.to(like))
            return linear.train(self.training)
        made = Convolution(weight.shape[1] * groups, kernel=self.kernel, groups=groups, width=self.width)
        made.weight, made.bias = nn.Parameter(weight.to(like)), nn.Parameter(bias.to(like))
        return made.train(self.training)

    def _mapped(self, convolution: Any, x: Tensor, side: Side) -> Tensor:
        if self.kernel > 1:
            return convolution(x, side)
        x, groups, weight_ED = x.contiguous(), convolution.groups, convolution.weight[..., 0, 0]
        pairs = zip(x.chunk(groups, -1), weight_ED.chunk(groups), strict=True)
        return torch.cat([F.linear(x_G, w_GD) for x_G, w_GD in pairs], -1) if groups > 1 else F.linear(x, weight_ED)


def _same(map_SD: Tensor) -> Tensor:
    return map_SD
