"""Progressive batch norm: training slides from layer norm to a batch norm with a skip; in use only the latter is left.

Source: Guo et al. 2024, arXiv:2405.11582, sec. 3.2 (PRepBN).
Axes: ... any leading axes, D channels.
"""

import torch
import torch.nn as nn
from torch import Tensor

from unimodal.norms.batch import BatchNorm
from unimodal.norms.layer import LayerNorm
from unimodal.side import Side

__all__ = ["ProgressiveBatchNorm"]


class ProgressiveBatchNorm(nn.Module):
    """y = lambda LN(x) + (1 - lambda) (BN(x) + eta x), lambda = max(0, 1 - t / steps) at training step t.

    The step is counted at each forward pass while training, in a buffer, so that a resumed run goes on where it
    stopped. In use lambda is 0 whatever the step: early in training, the model in use is not the one in training.
    There the norm is one factor and one shift a channel (:meth:`affine`), which the next linear map can take in.

    Args:
        dim: Channels D.
        steps: Training steps until the layer norm is gone.
        warmup: Steps of pure layer norm before the slide.
        eps: Added to the variances, in squared units of x.
        momentum: Share of a batch in the running averages.

    Shapes:
        x: (..., D), (B, N, D) with lengths;  returns (..., D) in x's dtype.

    Raises:
        ValueError: ``steps`` is not positive or ``warmup`` negative; while training, what :class:`BatchNorm` refuses.
    """

    step: Tensor

    def __init__(
        self, dim: int, *, steps: int = 300_000, warmup: int = 0, eps: float = 1e-5, momentum: float = 0.1
    ) -> None:
        super().__init__()
        if steps < 1 or warmup < 0:
            raise ValueError(f"steps must be positive and warmup not negative, not steps={steps}, warmup={warmup}")
        self.steps, self.warmup = steps, warmup
        self.layer = LayerNorm(dim, eps=eps)
        self.batch = BatchNorm(dim, eps=eps, momentum=momentum)
        self.eta = nn.Parameter(torch.ones(()))
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor, side: Side = Side()) -> Tensor:
        repaired = self.batch(x, side) + self.eta.to(x.dtype) * x
        if not self.training:
            return repaired
        share = (1 - (self.step - self.warmup).clamp(min=0) / self.steps).clamp(min=0).to(x.dtype)
        self.step += 1
        return share * self.layer(x, side) + (1 - share) * repaired

    def affine(self) -> tuple[Tensor, Tensor]:
        """Factor a and shift b of the norm in use, y = a x + b, each (D,) in float64."""
        factor_D, shift_D = self.batch.affine()
        return factor_D + self.eta.double(), shift_D
