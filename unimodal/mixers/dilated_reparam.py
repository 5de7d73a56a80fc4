"""Dilated reparameterisation: a large depth-wise kernel trained beside small dilated ones, which it takes in for use.

Source: Ding et al. 2024, arXiv:2311.15599 (Dilated Reparam Block); the sets of kernels and the fold: its code
github.com/AILab-CVC/UniRepLKNet, unireplknet.py, DilatedReparamBlock.
Axes: B rows, N tokens, D width, K large kernel, k r a small kernel and its dilation.
"""

from types import MappingProxyType
from typing import Any

import torch.nn as nn
from torch import Tensor

from unimodal.mixers.depthwise import Depthwise
from unimodal.norms.batch import BatchNorm
from unimodal.side import Side
from unimodal.summed_kernel import Branch, summed_kernel

__all__ = ["DilatedReparam"]

BRANCHES = MappingProxyType(
    {
        5: ((3, 1), (3, 2)),
        7: ((5, 1), (3, 2), (3, 3)),
        9: ((5, 1), (5, 2), (3, 3), (3, 4)),
        11: ((5, 1), (5, 2), (3, 3), (3, 4), (3, 5)),
        13: ((5, 1), (7, 2), (3, 3), (3, 4), (3, 5)),
        15: ((5, 1), (7, 2), (3, 3), (3, 5), (3, 7)),
        17: ((5, 1), (9, 2), (3, 4), (3, 5), (3, 7)),
    }
)


class DilatedReparam(nn.Module):
    """y = norm_0(DW_K(x)) + sum_i norm_i(DW_(k_i, r_i)(x)), every convolution depth-wise and every norm a batch norm.

    A kernel k with dilation r is a kernel of r (k - 1) + 1 that is zero between the places it looks at, and a batch
    norm in use is one factor and one shift a channel. So in use all of this is one kernel of K x K with a bias
    (:meth:`deployed`), while training finds sparse patterns and small ones more easily in kernels of their own.

    Args:
        dim: Width D.
        kernel: K in cells, odd.
        branches: Pairs (k, r), or None for the paper's of this K, which it gives for 5, 7, ..., 17.
        eps: Of the norms, in squared units of x.

    Shapes:
        x: (B, N, D) on a lattice of two axes;  returns (B, N, D).

    Raises:
        ValueError: a branch does not fit into K x K or has no middle, or there are no branches of the paper for K; what
            :class:`~unimodal.mixers.depthwise.Depthwise` and, while training, the norm refuse.

    Cost: O(B N D (K^2 + sum k^2)) while training, O(B N D K^2) once deployed.
    """

    def __init__(
        self, dim: int, *, kernel: int = 13, branches: tuple[tuple[int, int], ...] | None = None, eps: float = 1e-5
    ) -> None:
        super().__init__()
        if branches is None and kernel not in BRANCHES:
            known = ", ".join(map(str, BRANCHES))
            raise ValueError(f"the paper has branches for the kernels {known}, not {kernel}: give branches")
        pairs = BRANCHES[kernel] if branches is None else tuple(branches)
        for small, dilation in pairs:
            if dilation * (small - 1) + 1 > kernel:
                raise ValueError(
                    f"a branch of {small} cells with dilation {dilation} does not fit into kernel={kernel}"
                )
        self.kernel = kernel
        self.convolutions = nn.ModuleList(
            Depthwise(dim, kernel=small, dilation=dilation, bias=False) for small, dilation in ((kernel, 1), *pairs)
        )
        self.norms = nn.ModuleList(BatchNorm(dim, eps=eps) for _ in self.convolutions)

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        (first, *others), (norm, *norms) = self.convolutions, self.norms
        y = norm(first(x, side), side)
        for convolution, norm in zip(others, norms, strict=True):
            y = y + norm(convolution(x, side), side)
        return y

    def deployed(self) -> Depthwise:
        """One depth-wise convolution with the same outputs in use; folded in float64."""
        like = next(self.parameters()).detach()
        pairs: Any = zip(self.convolutions, self.norms, strict=True)
        branches = (Branch(c.weight, norm.affine(), len(like), c.dilation) for c, norm in pairs)
        weight_D1KK, bias_D = summed_kernel(branches, kernel=self.kernel, groups=len(like))
        made = Depthwise(len(like), kernel=self.kernel)
        made.weight, made.bias = nn.Parameter(weight_D1KK.to(like)), nn.Parameter(bias_D.to(like))
        return made.train(self.training)
