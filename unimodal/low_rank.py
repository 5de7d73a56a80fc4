"""Low rank: train a small product of two matrices beside frozen linear maps, and fold it into them afterwards.

Source: Hu et al. 2021, arXiv:2106.09685, eq. 3 and sec. 4.2 (merging); the factor alpha / rank: sec. 4.1.
Axes: ... any leading axes, I inputs, O outputs, R rank.
"""

import copy
import math
import re

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.adapted import Adapted

__all__ = ["adapt", "merge"]


def adapt(
    model: nn.Module, *, rank: int = 8, alpha: float | None = None, where: str = r"\bmixer\.to_(qkv|out)$"
) -> Adapted:
    """A copy whose linear maps y = W x + b become y = W x + b + alpha / R * U V x, of which only U and V are trained.

    U starts as zeros, so the copy is the model until it is trained; everything else is frozen. A fused map of queries,
    keys and values has one term for the three: its V is shared by them. The terms alone are what
    ``{k: v for k, v in copy.state_dict().items() if ".low_rank_" in k}`` holds, and load with ``strict=False``.

    Args:
        model: Left as it is.
        rank: R.
        alpha: Numerator of the term's factor; None for R, a factor of one.
        where: A regular expression that is searched for in the names of linear maps; by default those of attention.

    Raises:
        ValueError: ``rank`` is not positive, no map's name matches, or a map has a term already (merge it first).
    """
    if rank < 1:
        raise ValueError(f"rank must be positive, not {rank}")
    total = sum(p.numel() for p in model.parameters())
    new = copy.deepcopy(model).requires_grad_(False)
    if any(isinstance(module, _LowRankLinear) for module in new.modules()):
        raise ValueError("the model has low-rank terms already: merge them first")
    found = [name for name, m in new.named_modules() if type(m) is nn.Linear and re.search(where, name)]
    if not found:
        known = sorted({name.rpartition(".")[2] for name, m in new.named_modules() if type(m) is nn.Linear})
        raise ValueError(f"where={where!r} matches no linear map; their last names are {', '.join(known) or 'none'}")
    for name in found:
        plain = new.get_submodule(name)
        assert isinstance(plain, nn.Linear)
        new.set_submodule(name, _LowRankLinear(plain, rank, 1.0 if alpha is None else alpha / rank))
    return Adapted(new, total)


def merge(model: nn.Module) -> nn.Module:
    """A copy with plain linear maps W + alpha / R * U V: the same function, nothing to compute beside it.

    It has the structure of the model before :func:`adapt`, and its Part. Sums are taken in float64. Parameters that
    were frozen stay so.
    """
    new = copy.deepcopy(model)
    for name, module in list(new.named_modules()):
        if isinstance(module, _LowRankLinear):
            new.set_submodule(name, module.merged())
    return new


class _LowRankLinear(nn.Linear):
    def __init__(self, plain: nn.Linear, rank: int, scale: float) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features, self.scale = plain.in_features, plain.out_features, scale
        self.weight, self.bias = plain.weight, plain.bias
        like = {"device": plain.weight.device, "dtype": plain.weight.dtype}
        self.low_rank_in = nn.Parameter(torch.empty(rank, plain.in_features, **like))
        self.low_rank_out = nn.Parameter(torch.zeros(plain.out_features, rank, **like))
        nn.init.kaiming_uniform_(self.low_rank_in, a=math.sqrt(5))
        self.train(plain.training)

    def forward(self, input: Tensor) -> Tensor:
        term = F.linear(F.linear(input, self.low_rank_in), self.low_rank_out)
        return F.linear(input, self.weight, self.bias) + self.scale * term

    def whole(self) -> Tensor:
        """W + alpha / R * U V, for a reader of the map that needs some of its rows."""
        return self.weight + self.scale * (self.low_rank_out @ self.low_rank_in)

    def merged(self) -> nn.Linear:
        plain = nn.Linear(1, 1, bias=False, device="meta")
        plain.in_features, plain.out_features = self.in_features, self.out_features
        term = self.low_rank_out.detach().double() @ self.low_rank_in.detach().double()
        whole = (self.weight.detach().double() + self.scale * term).to(self.weight.dtype)
        plain.weight = nn.Parameter(whole, requires_grad=self.weight.requires_grad)
        plain.bias = self.bias
        return plain.train(self.training)
