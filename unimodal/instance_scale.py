"""Instance scale: mean and spread of each series of a window, taken away before a model and given back after.

Source: Kim et al. 2022 (reversible instance normalization, ICLR 2022), eq. 1-2, without its affine map; Liu et al.
2023, arXiv:2310.06625, sec. 3.2 and its code (population variance, epsilon inside of the root).
Axes: ... windows and variates, L time steps of a window.
"""

import torch
from torch import Tensor

__all__ = ["instance_scale"]

EPS = 1e-5


def instance_scale(window: Tensor, unit: Tensor | float = 1.0, *, eps: float = EPS) -> tuple[Tensor, Tensor]:
    """mu = mean(x);  sigma = sqrt(var(x) + eps unit^2), so that (x - mu) / sigma has no level and no unit.

    The published code scales every series by its training set first, so its eps counts in those units. ``unit`` says
    them for a series that was not scaled: x -> a x + b with unit -> a unit changes nothing in (x - mu) / sigma.

    Args:
        unit: What one unit of the training scale is in units of x, per series.
        eps: Keeps the quotient finite for a window that is constant.

    Shapes:
        window: (..., L);  unit: broadcastable to (..., 1);  returns mu and sigma, (..., 1).
    """
    mean = window.mean(-1, keepdim=True)
    variance = (window - mean).square().mean(-1, keepdim=True)
    return mean, torch.sqrt(variance + eps * torch.as_tensor(unit, dtype=window.dtype) ** 2)
