"""Prepack: a copy of a model whose linear maps keep their weights in the processor's own layout.

Source: Intel oneDNN developer guide, "Matrix Multiplication" (see :mod:`unimodal.kernels.linear`).
"""

from functools import partial
from typing import Any

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.activation import activation as activation_named
from unimodal.ffns.dropout import DropoutFFN
from unimodal.ffns.plain import Plain
from unimodal.kernels import linear as kernel
from unimodal.kernels.dispatch import Choice, Wish, decide
from unimodal.sharing_copy import sharing_copy

__all__ = ["choose", "prepack"]


def prepack(model: nn.Module, *, implementation: Wish = "auto") -> nn.Module:
    """The same function for inference on this machine's CPU, usually faster; ``model`` itself is left as it is.

    Every :class:`torch.nn.Linear` that can be packed is replaced, and a plain feed-forward's activation is applied by
    its first map; a map that cannot be packed (another device or dtype) is kept, and so is the way of one that has too
    little to do for its call's cost. The copy shares its parameters with the model and has the same state dict, but the
    packed weights are a snapshot (and cost their size in memory once more): train or load first, then prepack.

    Args:
        implementation: ``reference`` returns the model itself, ``require`` raises where :func:`choose` would.

    Raises:
        RuntimeError: when the copy is run with gradients on and asked for one; ``implementation="require"`` and there
            is nothing to pack.
    """
    if choose(model, implementation=implementation).implementation == "reference":
        return model
    packed = sharing_copy(model)
    if type(packed) is nn.Linear:
        return _packed(packed)
    for module in list(packed.modules()):
        if type(module) in (Plain, DropoutFFN) and type(module.to_hidden) is nn.Linear:
            _fuse(module)
    done: dict[nn.Module, nn.Module] = {}
    for module in list(packed.modules()):
        for name, child in list(module._modules.items()):  # named_children() skips a second name of one module
            if type(child) is nn.Linear:
                done[child] = done.get(child) or _packed(child)
                setattr(module, name, done[child])
    return packed


def choose(model: nn.Module, *, implementation: Wish = "auto") -> Choice:
    """Whether :func:`prepack` has something to pack here, and how much or why not."""
    plain = {module for module in model.modules() if type(module) is nn.Linear}
    asked = [kernel.choose(module.weight) for module in plain]
    refused = [choice.reason for choice in asked if choice.implementation == "reference"]
    fits = len(asked) - len(refused)
    why = f"a linear map cannot be packed: {refused[0]}" if refused else "it has no linear maps"
    choice = decide(implementation, "oneDNN with packed weights", None if fits else why)
    if choice.implementation == "reference":
        return choice
    return Choice(choice.implementation, f"{fits} of {len(asked)} linear maps fit" + (f"; {why}" if refused else ""))


def _packed(plain: nn.Linear, activation: str | None = None) -> nn.Module:
    fits = kernel.choose(plain.weight).implementation != "reference"
    return _PackedLinear(plain, activation) if fits else plain


def _fuse(ffn: Any) -> None:
    """Let the first map of a feed-forward apply the activation, where it can."""
    names = [name for name in kernel.ACTIVATIONS if _same(ffn.activation, activation_named(name))]
    if names and kernel.choose(ffn.to_hidden.weight).implementation != "reference":
        ffn.to_hidden, ffn.activation = _PackedLinear(ffn.to_hidden, names[0]), nn.Identity()


def _same(one: object, other: object) -> bool:
    """Whether two activations are one; the copy of a partial is another object."""
    if isinstance(one, partial) and isinstance(other, partial):
        return (one.func, one.args, one.keywords) == (other.func, other.args, other.keywords)
    return one is other


class _PackedLinear(nn.Linear):
    """A linear map that computes with a packed snapshot of its weight, and an activation behind it."""

    def __init__(self, plain: nn.Linear, activation: str | None) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = plain.in_features, plain.out_features
        self.weight, self.bias = plain.weight, plain.bias
        self.packed = [kernel.pack(plain.weight)]  # in a list: neither a parameter nor a buffer: not in the state dict
        self.activation = activation
        self.train(plain.training)

    def forward(self, input: Tensor) -> Tensor:
        if torch.is_grad_enabled() and self.weight.requires_grad:
            raise RuntimeError("a prepacked model has no gradient: use torch.inference_mode, or the model as it was")
        if input.numel() * self.out_features < kernel.FEWEST:
            y = F.linear(input, self.weight, self.bias)
            return y if self.activation is None else activation_named(self.activation)(y)
        return kernel.linear(input, self.packed[0], self.bias, activation=self.activation)
