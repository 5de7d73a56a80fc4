"""Scale consistency: one picture at several sizes in one step, and each size learns from the next larger one.

Source: Tian et al. 2023, arXiv:2212.00776, sec. 3.2; the whitened target: github.com/ruitian12/resformer, losses.py.
Axes: S inputs, D width of the pooled vector, C classes, n sizes.
"""

from collections.abc import Sequence
from typing import Any

import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

from unimodal.readouts.head import Head
from unimodal.sample import Batch

__all__ = ["ScaleConsistency"]


class ScaleConsistency(nn.Module):
    """loss = 1/n sum_i [CE(logits_i, labels) + weight * smooth_l1(z_i, LN(z_(i-1)))], sizes from the largest down.

    z is the vector that the classifier reads; LN has no weight or bias, and no gradient goes to the larger size. The
    largest size has no such term. Equal vectors do not give 0 unless they have mean 0 and variance 1: the target is
    whitened, what is compared with it is not (as released).

    Args:
        weight: Of the consistency (alpha in the paper); 0 trains on several sizes alone.

    Shapes:
        batches: n of S inputs each, the same inputs from the largest size to the smallest;  labels: (S,) classes or
            (S, C) probabilities;  returns the loss, a scalar.

    Raises:
        ValueError: ``weight`` is negative, there is no batch, the model's readout is no
            :class:`~unimodal.readouts.head.Head`, or a size comes behind a smaller one.
    """

    def __init__(self, *, weight: float = 1.0) -> None:
        super().__init__()
        if weight < 0:
            raise ValueError(f"weight must not be negative, not {weight}")
        self.weight = weight

    def forward(self, model: Any, batches: Sequence[Batch], labels: Tensor) -> Tensor:
        if type(model.readout) is not Head:
            raise ValueError(f"the model's readout must be a Head, not {type(model.readout).__name__}")
        if not batches:
            raise ValueError("there is no batch to learn from")
        total, teacher, before = labels.new_zeros((), dtype=next(model.parameters()).dtype), None, None
        for batch in batches:
            tokens = model.transformer(model.tokenize(batch))
            if before is not None and tokens.x.shape[1] > before:
                raise ValueError("sizes must go from the largest to the smallest: each learns from the one before it")
            z_SD, before = model.readout.pool(tokens), tokens.x.shape[1]
            total = total + F.cross_entropy(model.readout.mapped(z_SD), labels)
            if teacher is not None and self.weight:
                target = F.layer_norm(teacher, teacher.shape[-1:], eps=1e-6)
                total = total + self.weight * F.smooth_l1_loss(z_SD, target)
            teacher = z_SD.detach()
        return total / len(batches)
