"""Query-text contrast: all queries of a picture together are told apart by the list of texts of what is in it.

Source: Jain et al. 2022, arXiv:2211.06220, sec. 3.3; the loss: Radford et al. 2021, arXiv:2103.00020, sec. 2.3;
released code: transformers, models/oneformer/modeling_oneformer.py.
Axes: B pictures, N queries, D width.
"""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor

__all__ = ["QueryTextContrast"]


class QueryTextContrast(nn.Module):
    """loss = CE of picture against texts + CE of texts against pictures, of z_i . w_j / t over the pairs of the batch.

    z and w are the N x D queries and texts of a picture as one vector of unit length: the n-th query answers to the
    n-th text, and the lists differ in what is in the picture and in the task. The text branch is needed in training
    only. With one picture the loss is 0 and teaches nothing.

    Args:
        weight: Of the loss.
        temperature: First t, which is learned.
        sharpest: 1 / t grows no further than this.

    Shapes:
        queries: (B, N, D);  texts: (B, N, D);  returns a scalar.

    Raises:
        ValueError: the temperature is not positive; queries and texts have different shapes.
    """

    def __init__(self, *, weight: float = 0.5, temperature: float = 0.07, sharpest: float = 100.0) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature must be positive, not {temperature}")
        self.weight, self.sharpest = weight, sharpest
        self.log_scale = nn.Parameter(torch.tensor(-math.log(temperature)))

    def forward(self, queries: Tensor, texts: Tensor) -> Tensor:
        if queries.shape != texts.shape:
            raise ValueError(f"queries {tuple(queries.shape)} and texts {tuple(texts.shape)} must have one shape")
        kind = torch.promote_types(queries.dtype, torch.float32)
        z, w = (F.normalize(given.to(kind).flatten(1), dim=-1) for given in (queries, texts))
        alike_BB = z @ w.mT * self.log_scale.exp().clamp(max=self.sharpest)
        own_B = torch.arange(len(z), device=z.device)
        return self.weight * (F.cross_entropy(alike_BB, own_B) + F.cross_entropy(alike_BB.mT, own_B))
