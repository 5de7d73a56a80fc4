"""Element-wise activations by name."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["activation"]


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """The function called ``name``: gelu, gelu_tanh, gelu_quick (CLIP's x sigmoid(1.702 x)), relu, silu or tanh.

    Raises:
        ValueError: an unknown name.
    """
    if name not in _ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(_ACTIVATIONS)}, not {name!r}")
    return _ACTIVATIONS[name]


def _gelu_quick(x: Tensor) -> Tensor:
    return x * (1.702 * x).sigmoid()


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "gelu_quick": _gelu_quick,
    "relu": F.relu,
    "silu": F.silu,
    "tanh": torch.tanh,
}
