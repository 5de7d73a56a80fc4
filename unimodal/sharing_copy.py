"""Sharing copy: a copy of a module whose parts can be changed, over the very tensors of the module."""

import copy
from typing import TypeVar

import torch.nn as nn

__all__ = ["sharing_copy"]

M = TypeVar("M", bound=nn.Module)


def sharing_copy(module: M) -> M:
    """Modules of its own, the parameters and buffers of ``module``: no tensor is copied, and training one trains both.

    ``copy.deepcopy`` parts them.
    """
    held = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    return copy.deepcopy(module, held)
