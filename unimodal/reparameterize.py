"""Reparameterise: every part that has another form for use takes it, with the same outputs.

Source: Ding et al. 2021, arXiv:2101.03697, sec. 3.3 (structural re-parameterisation); Ding et al. 2024,
arXiv:2311.15599.
"""

import copy
from typing import Any

import torch.nn as nn

__all__ = ["reparameterize"]


def reparameterize(model: nn.Module) -> nn.Module:
    """A copy of ``model`` in its form for use; ``model`` itself is left as it is.

    A part that is trained in another form than it is used in says the latter with a method ``deployed()``: a module
    that gives the same in use. Parts inside of it take theirs first, so a block can go on with what they became.

    Raises:
        ValueError: the model is in training mode, in which its norms see the batch; or no part has another form.
    """
    if model.training:
        raise ValueError("the model is in training mode, in which its norms see the batch: call model.eval() first")
    deployed: dict[nn.Module, nn.Module] = {}
    made = _deployed(copy.deepcopy(model), deployed)
    if all(new is old for old, new in deployed.items()):
        raise ValueError("no part of the model has another form for use (a method deployed())")
    return made.eval()


def _deployed(module: Any, known: dict[nn.Module, nn.Module]) -> nn.Module:
    """The module's form for use; one that is met twice, because weights are shared, stays one."""
    if module not in known:
        for name, child in module.named_children():
            setattr(module, name, _deployed(child, known))
        known[module] = module.deployed() if hasattr(module, "deployed") else module
    return known[module]
