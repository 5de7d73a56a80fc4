"""Overwriting: an activation in the memory of what it reads, where nobody needs that any more.

Axes: ... any axes.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from unimodal.activation import activation

__all__ = ["overwriting"]


def overwriting(act: Callable[[Tensor], Tensor], h: Tensor) -> Tensor:
    """act(h); the caller must be the only one who has ``h``, which then may hold the result.

    The hidden channels of a feed-forward are the largest tensor of a transformer, and a second one of their size costs
    more in page faults than the activation. ``h`` is left as it is where a gradient needs it, under a compiler, which
    sees to it by itself, and where torch has no such form of the activation.

    Args:
        act: From :mod:`unimodal.activation`.

    Shapes:
        h: any;  returns the same shape.
    """
    in_place = None if h.requires_grad or torch.compiler.is_compiling() else _IN_PLACE.get(act)
    return act(h) if in_place is None else in_place(h)


_IN_PLACE: dict[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]] = {
    activation("gelu"): torch.ops.aten.gelu_.default,
    activation("relu"): torch.ops.aten.relu_.default,
    activation("silu"): torch.ops.aten.silu_.default,
    activation("tanh"): torch.ops.aten.tanh_.default,
}
