"""Linear rule: what linear attention does with queries and keys, described once for every implementation of it.

Source: feature maps: Katharopoulos et al. 2020, arXiv:2006.16236, eq. 7 (elu + 1); Qin et al. 2022, arXiv:2210.10340,
sec. 4 (elu, relu).
Axes: ... any leading axes.

A new feature map is a new row of :data:`FEATURES`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["FEATURES", "PLAIN_LINEAR", "Features", "LinearRule"]


@dataclass(frozen=True)
class Features:
    """A map of each number, and how a gradient goes back through it.

    Args:
        equation: phi(x), differentiable.
        make: The same without a graph, in as few passes as can be.
        pull_back: (gradient of phi(x), x): that of x.
    """

    equation: Callable[[Tensor], Tensor]
    make: Callable[[Tensor], Tensor]
    pull_back: Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class LinearRule:
    """w_nm = g^(n-m) phi(q_n) phi(k_m) over the keys that are seen; o_n = sum_m w_nm v_m, or that over its own sum.

    Args:
        features: phi, a name of :data:`FEATURES`.
        causal: Whether a query sees the keys up to its own place only; the last query stands beside the last key.
        normalised: Whether each row is divided by sum_m w_nm + ``eps``; a divisor of exactly 0 gives 0.
        eps: See there.

    Raises:
        ValueError: unknown features.
    """

    features: str = "identity"
    causal: bool = False
    normalised: bool = False
    eps: float = 0.0

    def __post_init__(self) -> None:
        if self.features not in FEATURES:
            raise ValueError(f"features must be one of {', '.join(FEATURES)}, not {self.features!r}")


def _exponential(x: Tensor) -> Tensor:
    """exp(x) below 0, else 1: the slope of elu. torch's own elu takes ten times as long as what is made of it."""
    return x.clamp_max(0.0).exp_()


def _elu_pull_back(grad: Tensor, x: Tensor) -> Tensor:
    return _exponential(x).mul_(grad)


FEATURES = {
    "identity": Features(lambda x: x, lambda x: x, lambda grad, x: grad),
    "relu": Features(torch.relu, torch.relu, lambda grad, x: grad * (x > 0.0)),
    "elu": Features(F.elu, lambda x: _exponential(x).sub_(1.0).add_(x.relu()), _elu_pull_back),
    "elu_plus_one": Features(lambda x: F.elu(x) + 1.0, lambda x: _exponential(x).add_(x.relu()), _elu_pull_back),
}

PLAIN_LINEAR = LinearRule()
