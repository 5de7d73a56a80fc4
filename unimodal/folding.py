"""Folding: norms that are one factor and one shift a channel in use go into the linear maps beside them, in float64.

Source: Ioffe & Szegedy 2015, arXiv:1502.03167, sec. 3.1 (in use a batch norm is a linear transform, which composes with
what is in front of it); Ding et al. 2021, arXiv:2101.03697, sec. 3.3.
Axes: D channels that are read, E channels that are written.
"""

import copy
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn as nn
from torch import Tensor

__all__ = ["fold_pairs", "folded_row", "preceded", "scaled"]


def scaled(layer: Any, factor_E: Tensor, shift_E: Tensor) -> Any:
    """The linear map or convolution whose output is ``factor_E`` times the layer's plus ``shift_E``.

    (diag(a) W) x + (a c + b) = a (W x + c) + b.
    """
    made = copy.deepcopy(layer)
    with torch.no_grad():
        made.weight.copy_(layer.weight.double() * factor_E.reshape(-1, *(1,) * (layer.weight.ndim - 1)))
        if made.bias is None:
            made.bias = nn.Parameter(made.weight.new_empty(len(factor_E)))
        made.bias.copy_(shift_E if layer.bias is None else shift_E + factor_E * layer.bias.double())
    return made


def preceded(layer: Any, factor_D: Tensor, shift_D: Tensor) -> Any:
    """The linear map, or convolution of one cell, that gives of x what the layer gives of ``factor_D`` x + ``shift_D``.

    (W diag(a)) x + (W b + c) = W (a x + b) + c. A convolution of more cells has no such form where its padding's zeros
    are not shifted with the rest.

    Raises:
        ValueError: the layer is a convolution of several cells, or has groups.
    """
    cells, groups = layer.weight[0, 0].numel(), getattr(layer, "groups", 1)
    if cells > 1 or groups > 1:
        raise ValueError(f"a norm goes into a map of one cell and one group behind it, not {cells} and {groups}")
    made, weight_ED = copy.deepcopy(layer), layer.weight.detach().double().flatten(1)
    with torch.no_grad():
        made.weight.copy_((weight_ED * factor_D).view_as(layer.weight))
        if made.bias is None:
            made.bias = nn.Parameter(made.weight.new_empty(len(weight_ED)))
        made.bias.copy_(weight_ED @ shift_D + (0.0 if layer.bias is None else layer.bias.double()))
    return made


def fold_pairs(maps: nn.ModuleList, norms: nn.ModuleList) -> None:
    """Put every norm that is affine in use into the map of its place, and nothing in the norm's place."""
    for i, norm in enumerate(list[Any](norms)):
        if hasattr(norm, "affine"):
            maps[i], norms[i] = scaled(maps[i], *norm.affine()), nn.Identity()


def folded_row(parts: Iterable[Any]) -> list[Any]:
    """Parts that follow one another, with each norm that can in the map in front of it, or else the one behind it.

    A norm can if it has ``affine()``, a map in front takes it in if it has ``scaled(factor, shift)``, one behind if it
    has ``preceded(factor, shift)``. The parts given are left as they are.
    """
    row: list[Any] = []
    for part in parts:
        if row and hasattr(part, "affine") and hasattr(row[-1], "scaled"):
            row[-1] = row[-1].scaled(*part.affine())
        elif row and hasattr(row[-1], "affine") and hasattr(part, "preceded"):
            row[-1] = part.preceded(*row[-1].affine())
        else:
            row.append(part)
    return row
