"""Prepack: a copy of a model whose linear maps keep their weights in the processor's own layout.

Source: Intel oneDNN developer guide, "Matrix Multiplication" (see :mod:`unimodal.kernels.linear`).
"""

import copy

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.kernels.linear import choose, linear, pack

__all__ = ["prepack"]


def prepack(model: nn.Module) -> nn.Module:
    """The same function for inference on this machine's CPU, usually faster; ``model`` itself is left as it is.

    Every :class:`torch.nn.Linear` that can be packed is replaced; one that cannot (another device or dtype) is kept.
    The copy shares its parameters with the model and has the same state dict, but the packed weights are a snapshot
    (and cost their size in memory once more): train or load first, then prepack.

    Raises:
        RuntimeError: when the copy is run with gradients on and asked for one.
    """
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    packed = copy.deepcopy(model, memo=dict(shared))
    if type(packed) is nn.Linear:
        return _packed(packed)
    done: dict[nn.Module, nn.Module] = {}
    for module in list(packed.modules()):
        for name, child in list(module._modules.items()):  # named_children() skips a second name of one module
            if type(child) is nn.Linear:
                done[child] = done.get(child) or _packed(child)
                setattr(module, name, done[child])
    return packed


def _packed(plain: nn.Linear) -> nn.Module:
    return plain if choose(plain.weight).implementation == "reference" else _PackedLinear(plain)


class _PackedLinear(nn.Linear):
    """A linear map that computes with a packed snapshot of its weight."""

    def __init__(self, plain: nn.Linear) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = plain.in_features, plain.out_features
        self.weight, self.bias = plain.weight, plain.bias
        self.packed = [pack(plain.weight)]  # in a list: neither a parameter nor a buffer, so not in the state dict
        self.train(plain.training)

    def forward(self, input: Tensor) -> Tensor:
        if torch.is_grad_enabled() and self.weight.requires_grad:
            raise RuntimeError("a prepacked model has no gradient: use torch.inference_mode, or the model as it was")
        return linear(input, self.packed[0], self.bias)
