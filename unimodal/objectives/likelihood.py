"""Likelihood: the most likely target of an input, both read by one model, by the cosine of their vectors.

Source: Zhu et al. 2022, arXiv:2112.01522 (P(x, y) = exp(cos(f(x), f(y)) / tau)); the shared output map, a
temperature a task name and their bound: released code github.com/fundamentalvision/Uni-Perceiver,
uniperceiver/modeling/predictor/embed_cls_predictor.py; both ways of a batch: Radford et al. 2021, arXiv:2103.00020,
fig. 3.
Axes: S inputs, K targets, D width of the model's readout.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.model import Model
from unimodal.norms.layer import LayerNorm
from unimodal.sample import Batch
from unimodal.tokens import Tokens

__all__ = ["Likelihood"]


class Likelihood(nn.Module):
    """loss = -mean_s log softmax_k(min(exp(t_task), 100) f(x_s) . f(y_k))[label_s], f(x) = unit(W LN(readout(x)) + b).

    Inputs and targets go through the same model and the same f, so a class is a target that was written down: classes
    may be added, left out or reordered without a parameter that knows of them. A task adds the one scalar t of its
    name; tasks that are alike may share a name. At the bound of 100 the scalar has no gradient (as released).

    Args:
        dim: Width D of the model's readout.
        tasks: Names of the temperatures.
        temperature: tau at the start, t = log(1 / tau).

    Shapes:
        forward: S inputs, K targets, labels (S,) as indices of targets or (S, K) as probabilities;  returns a scalar.
        logits: S inputs, K targets;  returns (S, K) in float32 (float64 for float64).
        retrieval: S inputs and their S partners;  returns a scalar.

    Raises:
        ValueError: there are no tasks, a name comes twice, is empty or has a dot, ``temperature`` is not positive, the
            task of a call is unknown, the model has no readout, or a retrieval's sides differ in number.
    """

    def __init__(self, dim: int, *, tasks: Sequence[str], temperature: float = 0.07) -> None:
        super().__init__()
        bad = [task for i, task in enumerate(tasks) if not task or "." in task or task in tasks[:i]]
        if isinstance(tasks, str) or not tasks or bad:
            raise ValueError(f"tasks must be different names without dots, at least one, not {tasks!r}")
        if temperature <= 0:
            raise ValueError(f"temperature must be positive, not {temperature}")
        self.norm = LayerNorm(dim, eps=1e-5)
        self.project = nn.Linear(dim, dim)
        start = math.log(1 / temperature)
        self.log_scale = nn.ParameterDict({task: nn.Parameter(torch.tensor(start)) for task in tasks})

    def forward(
        self, model: Model, task: str, inputs: Batch | Tokens, targets: Batch | Tokens, labels: Tensor
    ) -> Tensor:
        return F.cross_entropy(self.logits(model, task, inputs, targets), labels)

    def logits(self, model: Model, task: str, inputs: Batch | Tokens, targets: Batch | Tokens) -> Tensor:
        """Cosines over the task's temperature."""
        return self.compared(task, self.encode(model, inputs), self.encode(model, targets))

    def retrieval(self, model: Model, task: str, inputs: Batch | Tokens, partners: Batch | Tokens) -> Tensor:
        """The mean of finding each input's partner in the batch and each partner's input."""
        a_SD, b_SD = self.encode(model, inputs), self.encode(model, partners)
        if len(a_SD) != len(b_SD):
            raise ValueError(f"{len(a_SD)} inputs cannot be paired with {len(b_SD)} partners")
        logits_SS, pairs_S = self.compared(task, a_SD, b_SD), torch.arange(len(a_SD), device=a_SD.device)
        return (F.cross_entropy(logits_SS, pairs_S) + F.cross_entropy(logits_SS.mT, pairs_S)) / 2

    def encode(self, model: Model, inputs: Batch | Tokens) -> Tensor:
        """f of a batch, or of tokens that enter the core (:meth:`unimodal.model.Model.together` makes them), (S, D)."""
        return self.unit(self.read(model, inputs))

    def read(self, model: Model, inputs: Batch | Tokens) -> Tensor:
        """What f maps: the model's vectors (S, D)."""
        if model.readout is None:
            raise ValueError("the model has no readout, so its sequences have no vectors to compare")
        tokens = model.tokenize(inputs) if isinstance(inputs, Batch) else inputs
        return model.readout(model.transformer(tokens))

    def unit(self, z: Tensor) -> Tensor:
        """The shared output map of vectors (..., D) of the core, at unit length."""
        z = self.mapped(z)
        return F.normalize(z.to(torch.promote_types(z.dtype, torch.float32)), dim=-1)

    def mapped(self, z: Tensor) -> Tensor:
        """The shared output map W LN(z) + b."""
        return self.project(self.norm(z))

    def compared(self, task: str, x_SD: Tensor, y_KD: Tensor) -> Tensor:
        """Logits (S, K) of vectors that :meth:`encode` or :meth:`unit` gave: targets may be encoded once."""
        return self.scale(task) * x_SD @ y_KD.mT

    def scale(self, task: str) -> Tensor:
        """1 / tau of a task, at most 100."""
        if task not in self.log_scale:
            raise ValueError(f"task must be one of {', '.join(self.log_scale)}, not {task!r}")
        return self.log_scale[task].exp().clamp(max=100.0)
